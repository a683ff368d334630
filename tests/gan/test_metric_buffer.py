"""The buffer of metrics between two checks of health: rows are joined by the names of the metrics."""

from __future__ import annotations

import numpy as np

from gan.metric_buffer import MetricBuffer, MetricRows


def rows(names: str, *values: list[float]) -> MetricRows:
    """Return rows of the metrics `names`, one letter each."""
    return MetricRows(tuple(names), np.array(values, dtype=np.float32))


def test_rows_are_joined_in_order_and_taken_once() -> None:
    buffer = MetricBuffer("ab")
    buffer.append(rows("ab", [1, 2]))
    buffer.append(rows("ab", [3, 4], [5, 6]))
    names, values = buffer.take()
    assert names == ("a", "b")
    assert values.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert len(buffer.take().values) == 0


def test_columns_of_another_order_are_sorted_by_name() -> None:
    buffer = MetricBuffer("abc")
    buffer.append(rows("cab", [3, 1, 2]))
    names, values = buffer.joined()
    assert names == ("a", "b", "c")
    assert values.tolist() == [[1, 2, 3]]


def test_only_metrics_that_all_rows_have_are_kept() -> None:
    buffer = MetricBuffer("abc")
    buffer.append(rows("ax", [1, 9]))
    names, values = buffer.joined(rows("abc", [2, 3, 4]))
    assert names == ("a",)
    assert values.tolist() == [[1], [2]]
    # The metrics come back with the next rows.
    buffer.take()
    buffer.append(rows("abc", [2, 3, 4]))
    assert buffer.joined().names == ("a", "b", "c")


def test_nan_and_infinity_stay_as_they_are() -> None:
    buffer = MetricBuffer("ab")
    buffer.append(rows("ab", [float("nan"), float("inf")]))
    assert np.array_equal(buffer.take().values, [[np.nan, np.inf]], equal_nan=True)
