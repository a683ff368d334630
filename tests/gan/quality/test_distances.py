"""Distances between sets of points: cases computed by hand, and the differences that each measures or ignores."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict

import pytest
import torch
from torch import Tensor

from gan.quality.distances import (
    SAME,
    Manifold,
    Moments,
    Overlap,
    distances,
    frechet,
    kernel_distance,
    kernel_within,
    manifold,
    moments,
    overlap,
)


def normal(count: int, dims: int, number: int) -> Tensor:
    """Return points (count, dims) from N(0, 1), with `number` as the seed."""
    return torch.randn(count, dims, generator=torch.Generator().manual_seed(number))


def line(*positions: float) -> Tensor:
    """Return points on a line, (N, 1)."""
    return torch.tensor(positions).unsqueeze(1)


# Four points with mean (3, 4) and covariance 4 I: the variance of +-a, 0, 0 is 2 a^2 / 3.
A = math.sqrt(6.0)
CROSS = torch.tensor([[3 + A, 4.0], [3 - A, 4.0], [3.0, 4 + A], [3.0, 4 - A]])


def test_the_frechet_distance_of_two_gaussians_is_the_formula() -> None:
    unit = Moments(torch.zeros(2).double(), torch.eye(2).double(), 100)
    # |(3, 4)|^2 + 2 dimensions of (1 - 2)^2.
    assert frechet(unit, CROSS) == pytest.approx(25 + 2, rel=1e-5)


def test_the_frechet_distance_of_a_rotated_gaussian() -> None:
    points = normal(500, 2, 0) * torch.tensor([3.0, 1.0])
    rotated = points.flip(1)
    # The standard deviations are (3, 1) and (1, 3), so the distance is 2^2 + 2^2.
    assert frechet(moments(points), rotated) == pytest.approx(8, rel=0.1)
    assert frechet(moments(points), points) == pytest.approx(0, abs=1e-6)


def test_the_frechet_distance_of_fewer_points_than_dimensions() -> None:
    points = normal(8, 40, 1)
    assert frechet(moments(points), points) == pytest.approx(0, abs=1e-4)
    # For one repeated image: the variance of the others plus its distance from their mean.
    constant = torch.zeros(5, 40)
    of_points = moments(points)
    expected = float(of_points.mean.square().sum() + of_points.covariance.trace())
    assert frechet(of_points, constant) == pytest.approx(expected, rel=1e-4)


def test_moments_are_the_mean_and_the_unbiased_covariance() -> None:
    found = moments(CROSS)
    assert found.mean.tolist() == pytest.approx([3, 4])
    assert found.covariance.flatten().tolist() == pytest.approx([4, 0, 0, 4], abs=1e-5)
    assert found.mean.dtype == found.covariance.dtype == torch.float64
    assert found.size == 4
    assert moments(line(0, 2)).covariance.tolist() == [[2.0]]


def test_the_kernel_distance_is_the_formula() -> None:
    x, y = normal(5, 3, 2), normal(7, 3, 3) + 0.5

    def k(a: Tensor, b: Tensor) -> float:
        return float((a.double() @ b.double() / 3 + 1) ** 3)

    within_x = [k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
    within_y = [k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j]
    across = [k(a, b) for a in x for b in y]
    expected = sum(within_x) / 20 + sum(within_y) / 42 - 2 * sum(across) / 35
    assert kernel_distance(x, y) == pytest.approx(expected)
    assert kernel_distance(x, y, kernel_within(x)) == kernel_distance(x, y)


def test_the_kernel_distance_is_unbiased() -> None:
    same = [kernel_distance(normal(200, 4, i), normal(100, 4, 50 + i)) for i in range(30)]
    assert min(same) < 0 < max(same)
    # Half of the bias from the pairs of a point with itself.
    assert abs(sum(same)) / 30 < 0.05
    assert kernel_distance(normal(200, 4, 0), normal(100, 4, 50) + 0.5) > 0.2


def test_the_overlap_counted_by_hand() -> None:
    reals, fakes = manifold(line(0, 1, 2, 3), 1), manifold(line(0.5, 10), 1)
    assert reals.radii.tolist() == [1, 1, 1, 1]
    assert fakes.radii.tolist() == [9.5, 9.5]
    found = overlap(reals, fakes)
    # 0.5 is in the balls of 0 and 1, and 10 is in none. The balls of the fakes contain all reals.
    assert found.precision == 0.5
    assert found.density == 1.0
    assert found.coverage == 0.5
    assert found.recall == 1.0


def plain_overlap(reals: Tensor, fakes: Tensor, k: int, inside: Callable[[Tensor, Tensor], Tensor]) -> Overlap:
    """Return the overlap from all distances at once; `inside` compares a distance with a radius."""

    def apart(x: Tensor, y: Tensor) -> Tensor:
        return (x[:, None] - y).double().square().sum(2).sqrt()

    real_radii, fake_radii = (apart(x, x).sort(dim=1).values[:, k] for x in (reals, fakes))
    in_balls_of_reals = inside(apart(reals, fakes), real_radii[:, None])
    in_balls_of_fakes = inside(apart(reals, fakes), fake_radii)
    return Overlap(
        precision=in_balls_of_reals.any(0).double().mean().item(),
        recall=in_balls_of_fakes.any(1).double().mean().item(),
        density=in_balls_of_reals.sum(0).double().mean().item() / k,
        coverage=in_balls_of_reals.any(1).double().mean().item(),
    )


def test_without_equal_distances_the_overlap_is_that_of_closed_and_of_open_balls() -> None:
    reals, fakes = normal(60, 3, 20), normal(50, 3, 21) * 0.8 + 0.3
    found = asdict(overlap(manifold(reals, 5), manifold(fakes, 5)))
    for inside in (torch.le, torch.lt):
        assert found == pytest.approx(asdict(plain_overlap(reals, fakes, 5, inside)))


def test_a_point_at_exactly_the_radius_lies_inside() -> None:
    # On a grid of integers most distances occur several times.
    reals, fakes = (normal(40, 2, seed).mul(3).round() for seed in (22, 25))
    found = asdict(overlap(manifold(reals, 3), manifold(fakes, 3)))
    closed, opened = (asdict(plain_overlap(reals, fakes, 3, inside)) for inside in (torch.le, torch.lt))
    assert found == pytest.approx(closed)
    assert all(closed[name] > opened[name] for name in closed)


def test_the_overlap_of_exact_copies() -> None:
    points = normal(40, 3, 24)
    found = overlap(manifold(points, 5), manifold(points, 5))
    assert (found.precision, found.recall, found.coverage) == (1.0, 1.0, 1.0)
    assert found.density == pytest.approx(6 / 5)
    assert plain_overlap(points, points, 5, torch.lt).density == pytest.approx(1.0)
    # Each real occurs more often than there are neighbours, so that the radius of its ball is 0.
    repeated = points[:8].repeat(5, 1)
    assert overlap(manifold(repeated, 3), manifold(points[:8], 3)).precision == 1.0
    assert plain_overlap(repeated, points[:8], 3, torch.lt).precision == 0.0


def test_fakes_of_half_the_modes_are_precise_and_cover_half_of_the_reals() -> None:
    near, far = normal(400, 2, 4), normal(400, 2, 5) + 100
    found = overlap(manifold(torch.cat([near[:200], far[:200]]), 5), manifold(near[200:], 5))
    assert found.precision > 0.9
    assert 0.4 < found.recall < 0.5
    assert 0.4 < found.coverage <= 0.5
    mixed = overlap(manifold(near[:200], 5), manifold(torch.cat([near[200:], far[:200]]), 5))
    assert 0.4 < mixed.precision < 0.55
    assert mixed.coverage > 0.9


def test_one_repeated_point_is_precise_and_has_no_recall() -> None:
    reals = manifold(normal(300, 8, 6), 5)
    found = overlap(reals, manifold(reals.points[7].expand(100, 8), 5))
    assert found.precision == 1.0
    # The recall of the point itself; the coverage of the reals whose balls contain it.
    assert found.recall == 1 / 300
    assert found.coverage < 0.1


def test_points_that_are_equal_up_to_rounding_have_distance_zero() -> None:
    points = (normal(50, 128, 7) + 3).double()
    rounded = points * (1 + 1e-7)
    assert (distances(points, rounded).diagonal() == 0).all()
    assert (distances(points, points * (1 + 100 * SAME)).diagonal() > 0).all()


def test_a_set_smaller_than_k_uses_all_neighbours() -> None:
    found = manifold(line(0, 1, 5), 10)
    assert found.k == 2
    assert found.radii.tolist() == [5, 4, 5]


def test_processing_large_sets_in_parts_changes_nothing() -> None:
    reals, fakes = normal(1500, 3, 8).double(), normal(1200, 3, 9).double() + 0.3
    whole, near = torch.cdist(reals, fakes), torch.cdist(reals, reals).topk(6, largest=False).values[:, -1]
    balls = manifold(reals, 5)
    assert torch.allclose(balls.radii, near)
    found = overlap(balls, Manifold(fakes, torch.full((1200,), 0.2).double(), 5))
    inside = whole <= near[:, None]
    assert found.precision == pytest.approx(inside.any(0).double().mean().item())
    assert found.coverage == pytest.approx(inside.any(1).double().mean().item())
    assert found.density == pytest.approx(inside.sum(0).double().mean().item() / 5)
    assert found.recall == pytest.approx((whole <= 0.2).any(1).double().mean().item())


def test_no_distance_uses_the_global_generator() -> None:
    before = torch.get_rng_state()
    x, y = normal(30, 4, 0), normal(30, 4, 1)
    frechet(moments(x), y)
    kernel_distance(x, y)
    overlap(manifold(x, 3), manifold(y, 3))
    assert torch.equal(before, torch.get_rng_state())
