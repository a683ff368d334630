"""BatchNorm whose scale and shift are the class's own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan.layers.filled import SeededInit
from gan.layers.labelled import LabelConditioned


class ConditionalBatchNorm2d(LabelConditioned, SeededInit):
    """(N, C, H, W), labels (N,) -> gamma(y) (x - mean) / deviation + beta(y), the same shape.

    Dumoulin et al. 2017, arXiv:1610.07629, equation 5; de Vries et al. 2017, arXiv:1707.00683, equation 3. Mean and
    deviation are of the whole batch, whatever its classes; each class starts with gamma = 1 and beta = 0.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gamma = nn.Parameter(torch.empty(classes, channels))
        self.beta = nn.Parameter(torch.empty(classes, channels))

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        scale, shift = (F.embedding(labels, w).to(x.dtype)[:, :, None, None] for w in (self.gamma, self.beta))
        return torch.addcmul(shift, self.norm(x), scale)

    def fill(self, source: torch.Generator) -> None:
        nn.init.ones_(self.gamma)
        nn.init.zeros_(self.beta)
