"""Self-attention over a feature map (SAGAN: Zhang et al. 2019, arXiv:1805.08318, section 3)."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from gan.layers.seeded_init import SeededInit

# The paper's k: f, g and h have C/k channels.
_REDUCTION: Final = 8


class SelfAttention(SeededInit):
    """Self-attention between all positions of a map: (N, C, H, W) -> the same shape. At first it is the identity.

    It needs memory for (H W)^2 numbers per image, those of the attention map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // _REDUCTION)
        self.f, self.g, self.h = (nn.Conv2d(channels, inner, kernel_size=1) for _ in range(3))
        self.v = nn.Conv2d(inner, channels, kernel_size=1)
        self.gamma = nn.Parameter(torch.empty(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return gamma o + x for x (N, C, H, W), of the same shape."""
        f, g, h = (_positions(layer(x)) for layer in (self.f, self.g, self.h))  # (N, H W, inner)
        # Equation 1: beta[j, i] = softmax over i of f(x_i)^T g(x_j).
        beta = torch.softmax(g @ f.transpose(1, 2), dim=2)  # (N, H W, H W), rows sum to 1
        # Equation 2: o_j = v(sum over i of beta[j, i] h(x_i)).
        attended = (beta @ h).transpose(1, 2).view(x.shape[0], -1, *x.shape[2:])
        o: Tensor = self.v(attended)
        # Equation 3. gamma is 0 at first, so that the network learns from near positions before far ones.
        return self.gamma * o + x

    def fill(self, source: torch.Generator) -> None:
        """Set gamma to 0; the convolutions are filled as other layers are."""
        nn.init.zeros_(self.gamma)


def _positions(h: Tensor) -> Tensor:
    """Reshape (N, C, H, W) to (N, H W, C)."""
    return h.permute(0, 2, 3, 1).flatten(1, 2)
