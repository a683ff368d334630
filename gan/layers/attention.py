"""Self-attention over a feature map (SAGAN: Zhang et al. 2019, arXiv:1805.08318, section 3).

The authors' code, `non_local.py` of github.com/brain-research/self-attention-gan, has another layer than the paper:
it pools f and h by maxima of 2 x 2 positions, so that the attention map has a quarter of the numbers; h has C/2
channels in place of C/8; and the convolutions have no bias.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan.layers.seeded_init import SeededInit

# f and g have C/8 channels: the paper's k.
_REDUCTION: Final = 8
# With pooling, h has C/2 channels.
_REDUCTION_OF_POOLED_H: Final = 2


class SelfAttention(SeededInit):
    """Self-attention between all positions of a map: (N, C, H, W) -> the same shape. At first it is the identity.

    `pooled` chooses the layer of the authors' code, for H and W of at least 2. The layer needs memory for (H W)^2
    numbers per image, those of the attention map; for a quarter of them if pooled.
    """

    def __init__(self, channels: int, pooled: bool = False) -> None:
        super().__init__()
        self.pooled = pooled
        inner = max(1, channels // _REDUCTION)
        values = max(1, channels // _REDUCTION_OF_POOLED_H) if pooled else inner
        self.f, self.g, self.h = (_conv1x1(channels, outputs, pooled) for outputs in (inner, inner, values))
        self.v = _conv1x1(values, channels, pooled)
        self.gamma = nn.Parameter(torch.empty(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return gamma o + x for x (N, C, H, W), of the same shape."""
        f, g, h = (layer(x) for layer in (self.f, self.g, self.h))
        if self.pooled:
            f, h = F.max_pool2d(f, 2), F.max_pool2d(h, 2)
        f, g, h = (_positions(each) for each in (f, g, h))  # (N, positions, channels)
        # Equation 1: beta[j, i] = softmax over i of f(x_i)^T g(x_j).
        beta = torch.softmax(g @ f.transpose(1, 2), dim=2)  # (N, H W, positions of f), rows sum to 1
        # Equation 2: o_j = v(sum over i of beta[j, i] h(x_i)).
        attended = (beta @ h).transpose(1, 2).view(x.shape[0], -1, *x.shape[2:])
        o: Tensor = self.v(attended)
        # Equation 3. gamma is 0 at first, so that the network learns from near positions before far ones.
        return self.gamma * o + x

    def fill(self, source: torch.Generator) -> None:
        """Set gamma to 0; the convolutions are filled as other layers are."""
        nn.init.zeros_(self.gamma)


def _conv1x1(before: int, after: int, pooled: bool) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel_size=1, bias=not pooled)


def _positions(h: Tensor) -> Tensor:
    """Reshape (N, C, H, W) to (N, H W, C)."""
    return h.permute(0, 2, 3, 1).flatten(1, 2)
