"""Virtual batch normalisation: the statistics are a fixed batch's, so that the examples of a batch do not mix.

Salimans et al. 2016, arXiv:1606.03498, section 3.4.
"""

from __future__ import annotations

from typing import Final, cast

import torch
from torch import Tensor, nn

from gan.layers.filled import SeededInit
from gan.randomness import latents

REFERENCE: Final = 32
_EPS: Final = 1e-5


class ReferenceBatch(SeededInit):
    """The fixed batch: z (`REFERENCE`, z_dim) and labels (`REFERENCE`,), spread evenly over `classes` if any.

    It is chosen with the first weights, and goes through the network ahead of every batch.
    """

    def __init__(self, z_dim: int, z_distribution: str, classes: int) -> None:
        super().__init__()
        self.z_distribution, self.classes = z_distribution, classes
        self.register_buffer("z", torch.empty(REFERENCE, z_dim))
        self.register_buffer("labels", torch.empty(REFERENCE, dtype=torch.int64) if classes else None)

    def ahead_of(self, z: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(N, z_dim), (N,) -> (`REFERENCE` + N, z_dim), (`REFERENCE` + N,)."""
        both = torch.cat([cast(Tensor, self.z), z])
        if labels is None:
            return both, None
        return both, torch.cat([cast(Tensor, self.labels), labels])

    def fill(self, source: torch.Generator) -> None:
        z = cast(Tensor, self.z)
        z.copy_(latents(self.z_distribution, REFERENCE, z.shape[1], source))
        if self.classes:
            cast(Tensor, self.labels).copy_(torch.arange(REFERENCE) * self.classes // REFERENCE)


class VirtualBatchNorm2d(SeededInit):
    """(`REFERENCE` + N, C, H, W) -> the same shape, normalised: the first rows are the reference's.

    The reference is normalised by its own mean and deviation; an example by those of the n of the reference and
    itself, in which it weighs 1 / (n + 1). Scale and shift a channel are learnt, as in BatchNorm.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        mean, var = _statistics(x.float())
        scale = self.weight * torch.rsqrt(var + _EPS)
        shift = self.bias - mean * scale
        scale, shift = (t.to(x.dtype)[:, :, None, None] for t in (scale, shift))
        return torch.addcmul(shift, x, scale)

    def fill(self, source: torch.Generator) -> None:
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """(`REFERENCE` + N, C, H, W) -> mean and variance to normalise each row by, (`REFERENCE` + N, C) each."""
    var, mean = torch.var_mean(x, dim=(2, 3), correction=0)  # of each row alone
    of_all, spread = mean[:REFERENCE].mean(0), mean[:REFERENCE].var(0, correction=0)
    reference_var = var[:REFERENCE].mean(0) + spread
    share = 1.0 / (REFERENCE + 1)
    # The variance of two sets together: the mean of theirs, and that between their means.
    away = mean[REFERENCE:] - of_all
    mixed_mean = of_all + share * away
    mixed_var = (1 - share) * reference_var + share * var[REFERENCE:] + share * (1 - share) * away.square()
    rows = (REFERENCE, -1)
    return torch.cat([of_all.expand(rows), mixed_mean]), torch.cat([reference_var.expand(rows), mixed_var])
