"""Self-attention over a feature map (SAGAN: Zhang et al. 2019, arXiv:1805.08318, section 3)."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from gan.layers.filled import SeededInit

# The paper's k: f, g and h are that many times narrower than the map.
_NARROWING: Final = 8


class SelfAttention(SeededInit):
    """(N, C, H, W) -> the same shape: each place also sees every other. It begins as the identity.

    Its cost grows with (H W)^2: the attention maps of one image hold as many numbers.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // _NARROWING)
        self.f, self.g, self.h = (nn.Conv2d(channels, inner, kernel_size=1) for _ in range(3))
        self.v = nn.Conv2d(inner, channels, kernel_size=1)
        self.gamma = nn.Parameter(torch.empty(()))

    def forward(self, x: Tensor) -> Tensor:
        f, g, h = (_places(layer(x)) for layer in (self.f, self.g, self.h))  # (N, H W, inner)
        # Equation 1: beta[j, i] = softmax over i of f(x_i)^T g(x_j).
        beta = torch.softmax(g @ f.transpose(1, 2), dim=2)  # (N, H W, H W), rows sum to 1
        # Equation 2: o_j = v(sum over i of beta[j, i] h(x_i)).
        seen = (beta @ h).transpose(1, 2).view(x.shape[0], -1, *x.shape[2:])
        o: Tensor = self.v(seen)
        # Equation 3, with gamma = 0 at first: what is near is learnt before what is far.
        return self.gamma * o + x

    def fill(self, source: torch.Generator) -> None:
        nn.init.zeros_(self.gamma)


def _places(h: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H W, C)."""
    return h.permute(0, 2, 3, 1).flatten(1, 2)
