"""G_ema, an exponential moving average of G's weights (Karras et al. 2018, arXiv:1710.10196, section A.1)."""

from __future__ import annotations

import copy
from typing import Final

import torch
from torch import nn

# At the start the half-life is at most this share of the images seen so far, or the first weights would stay in the
# average for long (StyleGAN2-ADA: Karras et al. 2020, arXiv:2006.06676).
RAMP_UP: Final = 0.05


class Ema:
    """The moving average of a generator: `network` is the averaged copy of G, in eval mode."""

    def __init__(self, G: nn.Module, half_life_images: int) -> None:
        self.network = copy.deepcopy(G).eval().requires_grad_(False)
        self._half_life = half_life_images

    @torch.no_grad()
    def update(self, G: nn.Module, images_seen: int, images_since: int) -> None:
        """Average the weights of G in, `images_since` real images after the last update; copy its buffers.

        `images_seen` is the number of real images since the start of training.
        """
        decay = ema_decay(self._half_life, images_seen, images_since)
        torch._foreach_lerp_(list(self.network.parameters()), list(G.parameters()), 1.0 - decay)
        for average, current in zip(self.network.buffers(), G.buffers(), strict=True):
            average.copy_(current)


def ema_decay(half_life: int, images_seen: int, images_since: int) -> float:
    """Return the factor of the old average, 0.5^(images_since / half-life), with the half-life of `RAMP_UP`."""
    return float(0.5 ** (images_since / min(half_life, RAMP_UP * images_seen)))
