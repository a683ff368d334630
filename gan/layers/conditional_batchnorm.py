"""Conditional batch normalisation: BatchNorm with a scale and a shift for each class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan.layers.label_conditioned import LabelConditioned
from gan.layers.seeded_init import SeededInit


class ConditionalBatchNorm2d(LabelConditioned, SeededInit):
    """BatchNorm with gamma(y) and beta(y): (N, C, H, W), labels (N,) -> gamma(y) (x - mean) / deviation + beta(y).

    Dumoulin et al. 2017, arXiv:1610.07629, equation 5; de Vries et al. 2017, arXiv:1707.00683, equation 3. Mean and
    deviation are those of the whole batch, over all classes. At first, gamma is 1 and beta is 0 for every class.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gamma = nn.Parameter(torch.empty(classes, channels))
        self.beta = nn.Parameter(torch.empty(classes, channels))

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """Return x (N, C, H, W), normalised, scaled and shifted by its labels (N,), which must not be None."""
        assert labels is not None
        scale, shift = (F.embedding(labels, w).to(x.dtype)[:, :, None, None] for w in (self.gamma, self.beta))
        return torch.addcmul(shift, self.norm(x), scale)

    def fill(self, source: torch.Generator) -> None:
        """Set gamma to 1 and beta to 0 for every class."""
        nn.init.ones_(self.gamma)
        nn.init.zeros_(self.beta)
