"""How far two sets of features lie apart: Fréchet and kernel distance, precision, recall, density, coverage.

All of it in float64 on the CPU; nothing here draws a random number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

# Features nearer than this share of their length are the same: float32 rounds one image's features by as much,
# depending on which images are computed beside it.
SAME: Final = 1e-5
# Rows of a matrix of distances or kernels that are held at once.
ROWS: Final = 1_000


class Moments(NamedTuple):
    """A set of features as the Fréchet distance sees it. float64."""

    mean: Tensor
    """(F,)."""
    covariance: Tensor
    """(F, F)."""
    size: int
    """How many there are."""


class Manifold(NamedTuple):
    """A set of points and the ball around each that just holds its k nearest others. float64."""

    points: Tensor
    """(N, F)."""
    radii: Tensor
    """(N,)."""
    k: int


@dataclass(frozen=True)
class Overlap:
    """How the fakes and the reals cover each other."""

    precision: float
    """Share of fakes inside the ball of some real, 0..1."""
    recall: float
    """Share of reals inside the ball of some fake, 0..1."""
    density: float
    """In how many reals' balls a fake lies, over k; about 1 for fakes like the reals, and more where they crowd."""
    coverage: float
    """Share of reals whose ball holds a fake, 0..1."""


def moments(features: Tensor) -> Moments:
    """Mean and unbiased covariance of features (N, F), N >= 2."""
    points = features.double()
    return Moments(points.mean(0), torch.cov(points.T).reshape(points.shape[1], -1), len(points))


def frechet(real: Moments, fakes: Tensor) -> float:
    """|mu_r - mu_f|^2 + Tr(S_r + S_f - 2 (S_r S_f)^(1/2)) (Heusel et al. 2017, arXiv:1706.08500, equation 6).

    The squared distance of two Gaussians; fakes: features (M, F), M >= 2. As torchmetrics computes it.
    """
    # Here and not above: it takes most of a second, which only an evaluation should pay.
    from torchmetrics.image.fid import FrechetInceptionDistance  # noqa: PLC0415

    metric = FrechetInceptionDistance(_Identity(len(real.mean)))
    metric.real_features_sum = real.mean * real.size
    outer = torch.outer(real.mean, real.mean)
    metric.real_features_cov_sum = real.covariance * (real.size - 1) + real.size * outer
    metric.real_features_num_samples = torch.tensor(real.size)
    metric.update(fakes.double(), real=False)
    return max(0.0, float(metric.compute()))


class _Identity(nn.Module):
    """What torchmetrics takes for a feature network: here features go in already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def kernel_distance(reals: Tensor, fakes: Tensor, within_reals: float | None = None) -> float:
    """The squared maximum mean discrepancy of k(x, y) = (x.y / F + 1)^3, unbiased (Binkowski et al. 2018,
    arXiv:1801.01401, equation 4): about 0, and as often below it, where both come from one distribution.

    Of all pairs, where torchmetrics draws subsets from the global generator. reals (N, F), fakes (M, F);
    within_reals: `kernel_within(reals)`, where it is known already.
    """
    known = kernel_within(reals) if within_reals is None else within_reals
    across = _kernel_sum(reals.double(), fakes.double()) / (len(reals) * len(fakes))
    return known + kernel_within(fakes) - 2 * across


def kernel_within(features: Tensor) -> float:
    """The mean of k over all pairs of two different ones of features (N, F), N >= 2."""
    x = features.double()
    alone = _kernel(x.square().sum(1) / x.shape[1]).sum().item()
    return (_kernel_sum(x, x) - alone) / (len(x) * (len(x) - 1))


def _kernel_sum(x: Tensor, y: Tensor) -> float:
    return sum(_kernel(rows @ y.T / x.shape[1]).sum().item() for rows in torch.split(x, ROWS))


def _kernel(product: Tensor) -> Tensor:
    shifted = product.add_(1.0)
    return shifted * shifted * shifted


def manifold(features: Tensor, k: int) -> Manifold:
    """The balls around features (N, F) that hold their k nearest others; of a small set, all others."""
    points, k = features.double(), min(k, len(features) - 1)
    radii = [between(rows, points).topk(k + 1, largest=False).values[:, -1] for rows in torch.split(points, ROWS)]
    return Manifold(points, torch.cat(radii), k)


def overlap(reals: Manifold, fakes: Manifold) -> Overlap:
    """Precision and recall (Kynkäänniemi et al. 2019, arXiv:1904.06991, equations 1 and 2), density and coverage
    (Naeem et al. 2020, arXiv:2002.09797, equations 3 and 4)."""
    in_reals = torch.zeros(len(fakes.points), dtype=torch.int64)
    covered, recalled = [], []
    for points, radii in zip(torch.split(reals.points, ROWS), torch.split(reals.radii, ROWS), strict=True):
        distances = between(points, fakes.points)
        inside = distances <= radii[:, None]
        in_reals += inside.sum(0)
        covered.append(inside.any(1))
        recalled.append((distances <= fakes.radii).any(1))
    return Overlap(
        precision=float((in_reals > 0).double().mean()),
        recall=float(torch.cat(recalled).double().mean()),
        density=float(in_reals.double().mean()) / max(1, reals.k),
        coverage=float(torch.cat(covered).double().mean()),
    )


def between(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances (N, M) of float64 points; exactly 0 between two that are the same up to rounding."""
    distances = torch.cdist(x, y, compute_mode="use_mm_for_euclid_dist")
    return distances.masked_fill_(distances < SAME * x.norm(dim=1, keepdim=True), 0.0)
