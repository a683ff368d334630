"""Curves: steps and values, and how they are thinned without losing a spike."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ReducedCurve:
    """One metric over the steps of a job, in order of step; a value may be NaN or infinite."""

    steps: NDArray[np.int64]
    values: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.steps)


def head(curve: ReducedCurve, max_points: int) -> ReducedCurve:
    """Return the first `max_points` points of the curve, with none left out."""
    return ReducedCurve(curve.steps[:max_points], curve.values[:max_points])


def reduce_minmax(curve: ReducedCurve, max_points: int) -> ReducedCurve:
    """Return at most `max_points` (4 or more) of the curve's own points: the first, min, max and last of each bucket.

    A collapse that lasts one step is the min or max of its bucket, so it is never lost. Nothing is averaged. A bucket
    that holds non-finite values keeps the first of them in place of its last point, so that they are visible too.
    """
    assert max_points >= 4
    if len(curve) <= max_points:
        return curve
    edges = np.linspace(0, len(curve), max_points // 4 + 1).astype(np.int64)
    buckets = [_pick(curve.values, int(lo), int(hi)) for lo, hi in itertools.pairwise(edges)]
    picked = np.unique(np.concatenate(buckets))
    return ReducedCurve(curve.steps[picked], curve.values[picked])


def _pick(values: NDArray[np.float32], lo: int, hi: int) -> NDArray[np.int64]:
    bucket = values[lo:hi]
    finite = np.isfinite(bucket)
    if finite.all():
        return lo + np.array([0, bucket.argmin(), bucket.argmax(), len(bucket) - 1])
    low = np.where(finite, bucket, np.inf).argmin()
    high = np.where(finite, bucket, -np.inf).argmax()
    return lo + np.array([0, low, high, (~finite).argmax()])
