"""Distances between two sets of features: Fréchet and kernel distance, precision, recall, density, coverage.

All of them are computed in float64 on the CPU. No function here draws a random number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

# Features that differ by less than this share of their length are equal: float32 rounds the features of one image
# by as much, depending on the other images of the batch.
SAME: Final = 1e-5
# The number of rows of a matrix of distances or kernels that are in memory at once.
ROWS: Final = 1_000


class Moments(NamedTuple):
    """The mean and the covariance of a set of features, in float64, for the Fréchet distance."""

    mean: Tensor
    """(F,)."""
    covariance: Tensor
    """(F, F)."""
    size: int
    """The number of features."""


class Manifold(NamedTuple):
    """Points, each with the ball around it that reaches to its k-th nearest neighbour, in float64."""

    points: Tensor
    """(N, F)."""
    radii: Tensor
    """(N,)."""
    k: int
    """The number of neighbours."""


@dataclass(frozen=True)
class Overlap:
    """How far the fakes and the reals cover each other."""

    precision: float
    """The share of fakes inside the ball of at least one real, 0..1."""
    recall: float
    """The share of reals inside the ball of at least one fake, 0..1."""
    density: float
    """The mean number of reals' balls that a fake lies in, over k: about 1 for fakes like the reals, more for fakes
    that concentrate where reals are dense."""
    coverage: float
    """The share of reals with a fake inside their ball, 0..1."""


def moments(features: Tensor) -> Moments:
    """Return the mean and the unbiased covariance of features (N, F), with N >= 2."""
    points = features.double()
    return Moments(points.mean(0), torch.cov(points.T).reshape(points.shape[1], -1), len(points))


def frechet(real: Moments, fakes: Tensor) -> float:
    """Return |mu_r - mu_f|^2 + Tr(S_r + S_f - 2 (S_r S_f)^(1/2)), the squared distance of two Gaussians.

    Heusel et al. 2017, arXiv:1706.08500, equation 6. `fakes` are features (M, F), with M >= 2. torchmetrics computes
    it.
    """
    # The import takes most of a second, so only an evaluation does it.
    from torchmetrics.image.fid import FrechetInceptionDistance  # noqa: PLC0415

    metric = FrechetInceptionDistance(_Identity(len(real.mean)))
    metric.real_features_sum = real.mean * real.size
    outer = torch.outer(real.mean, real.mean)
    metric.real_features_cov_sum = real.covariance * (real.size - 1) + real.size * outer
    metric.real_features_num_samples = torch.tensor(real.size)
    metric.update(fakes.double(), real=False)
    return max(0.0, float(metric.compute()))


class _Identity(nn.Module):
    """A feature network for torchmetrics that returns its input, because that already consists of features."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def kernel_distance(reals: Tensor, fakes: Tensor, within_reals: float | None = None) -> float:
    """Return the unbiased squared maximum mean discrepancy of reals (N, F) and fakes (M, F).

    The kernel is k(x, y) = (x.y / F + 1)^3 (Binkowski et al. 2018, arXiv:1801.01401, equation 4). For two sets from
    the same distribution the result is around 0, and as often below 0 as above. All pairs are used, while
    torchmetrics draws subsets with the global generator. `within_reals` is `kernel_within(reals)`, if it is already
    known.
    """
    known = kernel_within(reals) if within_reals is None else within_reals
    across = _kernel_sum(reals.double(), fakes.double()) / (len(reals) * len(fakes))
    return known + kernel_within(fakes) - 2 * across


def kernel_within(features: Tensor) -> float:
    """Return the mean of the kernel over all pairs of two different features of (N, F), with N >= 2."""
    x = features.double()
    diagonal = _kernel(x.square().sum(1) / x.shape[1]).sum().item()
    return (_kernel_sum(x, x) - diagonal) / (len(x) * (len(x) - 1))


def _kernel_sum(x: Tensor, y: Tensor) -> float:
    return sum(_kernel(rows @ y.T / x.shape[1]).sum().item() for rows in torch.split(x, ROWS))


def _kernel(product: Tensor) -> Tensor:
    shifted = product.add_(1.0)
    return shifted * shifted * shifted


def manifold(features: Tensor, k: int) -> Manifold:
    """Return the balls around features (N, F) that reach to the k-th nearest neighbour, or the farthest of fewer."""
    points, k = features.double(), min(k, len(features) - 1)
    radii = [distances(rows, points).topk(k + 1, largest=False).values[:, -1] for rows in torch.split(points, ROWS)]
    return Manifold(points, torch.cat(radii), k)


def overlap(reals: Manifold, fakes: Manifold) -> Overlap:
    """Return precision, recall, density and coverage of the fakes.

    Precision and recall: Kynkäänniemi et al. 2019, arXiv:1904.06991, equations 1 and 2. Density and coverage: Naeem
    et al. 2020, arXiv:2002.09797, equations 3 and 4.

    The balls are closed: a point at exactly the radius lies inside, as in the code of Kynkäänniemi et al. In the code
    of Naeem et al., the package prdc, all balls are open. Without equal distances the figures are those of both. With
    open balls, a copy of a real that occurs more than k times would not lie in the ball of that real, whose radius is
    0. In exchange, the density of exact copies of all reals is (k + 1) / k here, and 1 in prdc.
    """
    in_reals = torch.zeros(len(fakes.points), dtype=torch.int64)
    covered, recalled = [], []
    for points, radii in zip(torch.split(reals.points, ROWS), torch.split(reals.radii, ROWS), strict=True):
        apart = distances(points, fakes.points)
        inside = apart <= radii[:, None]
        in_reals += inside.sum(0)
        covered.append(inside.any(1))
        recalled.append((apart <= fakes.radii).any(1))
    return Overlap(
        precision=float((in_reals > 0).double().mean()),
        recall=float(torch.cat(recalled).double().mean()),
        density=float(in_reals.double().mean()) / max(1, reals.k),
        coverage=float(torch.cat(covered).double().mean()),
    )


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Return the Euclidean distances (N, M) of float64 points; exactly 0 for two that are equal up to rounding."""
    apart = torch.cdist(x, y, compute_mode="use_mm_for_euclid_dist")
    return apart.masked_fill_(apart < SAME * x.norm(dim=1, keepdim=True), 0.0)
