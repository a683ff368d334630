"""Tests of thinned curves: no spike is lost."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jobs.curves import ReducedCurve, head, reduce_minmax


def _curve(values: list[float]) -> ReducedCurve:
    return ReducedCurve(np.arange(1, len(values) + 1), np.array(values, dtype=np.float32))


@given(
    values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=400),
    max_points=st.integers(4, 100),
)
def test_a_reduced_curve_keeps_real_points_and_the_extremes(values: list[float], max_points: int) -> None:
    curve = _curve(values)
    thin = reduce_minmax(curve, max_points)
    assert len(thin) <= max(max_points, 0)
    assert np.all(np.diff(thin.steps) > 0)
    assert np.array_equal(thin.values, curve.values[thin.steps - 1])
    assert thin.values.min() == curve.values.min() and thin.values.max() == curve.values.max()
    assert thin.steps[0] == 1 and thin.steps[-1] == len(values)


def test_a_collapse_of_one_step_survives_thinning_by_a_thousand() -> None:
    values = [1.0] * 100_000
    values[54_321] = -7.0
    assert -7.0 in reduce_minmax(_curve(values), 100).values


def test_a_bucket_with_non_finite_values_keeps_one() -> None:
    values = [1.0] * 1000
    values[500] = float("nan")
    assert np.isnan(reduce_minmax(_curve(values), 40).values).sum() == 1


def test_a_short_curve_is_returned_unchanged() -> None:
    curve = _curve([1.0, 2.0, 3.0])
    assert reduce_minmax(curve, 4) is curve


def test_the_head_is_the_first_points() -> None:
    assert head(_curve([3.0, 1.0, 2.0]), 2).values.tolist() == [3.0, 1.0]
    assert head(_curve([3.0]), 4).steps.tolist() == [1]
