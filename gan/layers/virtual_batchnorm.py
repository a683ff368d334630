"""Virtual batch normalisation (Salimans et al. 2016, arXiv:1606.03498, section 3.4).

The statistics are those of a fixed reference batch, so that the examples of a batch do not depend on each other.
"""

from __future__ import annotations

from typing import Final, cast

import torch
from torch import Tensor, nn

from gan.layers.seeded_init import SeededInit
from gan.randomness import latents

REFERENCE_SIZE: Final = 32
"""The number R of examples in the reference batch."""
_EPS: Final = 1e-5


class ReferenceBatch(SeededInit):
    """The reference batch: z (R, z_dim) and labels (R,), spread evenly over the classes if there are any.

    It is drawn with the first weights and stays the same. It goes through the network before every batch.
    """

    def __init__(self, z_dim: int, z_distribution: str, classes: int) -> None:
        super().__init__()
        self.z_distribution, self.classes = z_distribution, classes
        self.register_buffer("z", torch.empty(REFERENCE_SIZE, z_dim))
        self.register_buffer("labels", torch.empty(REFERENCE_SIZE, dtype=torch.int64) if classes else None)

    def prepend(self, z: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Put the reference batch before a batch: (N, z_dim), (N,) -> (R + N, z_dim), (R + N,)."""
        both = torch.cat([cast(Tensor, self.z), z])
        if labels is None:
            return both, None
        return both, torch.cat([cast(Tensor, self.labels), labels])

    def fill(self, source: torch.Generator) -> None:
        """Draw z from its distribution, and spread the labels evenly over the classes."""
        z = cast(Tensor, self.z)
        z.copy_(latents(self.z_distribution, REFERENCE_SIZE, z.shape[1], source))
        if self.classes:
            cast(Tensor, self.labels).copy_(torch.arange(REFERENCE_SIZE) * self.classes // REFERENCE_SIZE)


class VirtualBatchNorm2d(SeededInit):
    """Virtual batch normalisation: (R + N, C, H, W) -> the same shape. The first R rows are the reference batch.

    The reference batch is normalised by its own mean and deviation. An example is normalised by those of the R
    references and itself, with a weight of 1 / (R + 1). Scale and shift per channel are learned, as in BatchNorm.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return x (R + N, C, H, W), normalised, scaled and shifted, of the same shape."""
        mean, var = _statistics(x.float())
        scale = self.weight * torch.rsqrt(var + _EPS)
        shift = self.bias - mean * scale
        scale, shift = (t.to(x.dtype)[:, :, None, None] for t in (scale, shift))
        return torch.addcmul(shift, x, scale)

    def fill(self, source: torch.Generator) -> None:
        """Set the scale of every channel to 1 and its shift to 0."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance that normalise each row of x (R + N, C, H, W), both (R + N, C)."""
    var, mean = torch.var_mean(x, dim=(2, 3), correction=0)  # of each row alone
    reference_mean = mean[:REFERENCE_SIZE].mean(0)
    reference_var = var[:REFERENCE_SIZE].mean(0) + mean[:REFERENCE_SIZE].var(0, correction=0)
    share = 1.0 / (REFERENCE_SIZE + 1)
    # The variance of a union of two sets is the weighted mean of their variances plus the variance of their means.
    offset = mean[REFERENCE_SIZE:] - reference_mean
    mixed_mean = reference_mean + share * offset
    mixed_var = (1 - share) * reference_var + share * var[REFERENCE_SIZE:] + share * (1 - share) * offset.square()
    rows = (REFERENCE_SIZE, -1)
    return (
        torch.cat([reference_mean.expand(rows), mixed_mean]),
        torch.cat([reference_var.expand(rows), mixed_var]),
    )
