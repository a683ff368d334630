"""G_ema: an exponential moving average of G's weights (Karras et al. 2018, arXiv:1710.10196, section A.1)."""

from __future__ import annotations

import copy
from typing import Final

import torch
from torch import nn

# Young averages must forget quickly, or the first weights stay in them: as in StyleGAN2-ADA (arXiv:2006.06676).
RAMP_UP: Final = 0.05


class Ema:
    """Holds `network`, the averaged copy of G, in eval mode."""

    def __init__(self, G: nn.Module, half_life_images: int) -> None:
        self.network = copy.deepcopy(G).eval().requires_grad_(False)
        self._half_life = half_life_images

    @torch.no_grad()
    def update(self, G: nn.Module, images_seen: int, images_since: int) -> None:
        """Move towards G, `images_since` real images after the last move. Buffers are copied, not averaged."""
        keep = share_kept(self._half_life, images_seen, images_since)
        torch._foreach_lerp_(list(self.network.parameters()), list(G.parameters()), 1.0 - keep)
        for kept, current in zip(self.network.buffers(), G.buffers(), strict=True):
            kept.copy_(current)


def share_kept(half_life: int, images_seen: int, images_since: int) -> float:
    """The old average's share after `images_since` images: 1/2 to the power of images over half life."""
    return float(0.5 ** (images_since / min(half_life, RAMP_UP * images_seen)))
