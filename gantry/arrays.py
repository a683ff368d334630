"""Curves of a job as NumPy arrays. This is the only module of the client that needs NumPy (the extra `arrays`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Curve(NamedTuple):
    """One curve: steps int64 (N,) and values float64 (N,). A value that was not finite is NaN."""

    steps: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


def to_curve(points: Sequence[Sequence[Any]]) -> Curve:
    """Return the arrays of one curve from its [step, value] pairs."""
    steps = np.array([step for step, _ in points], np.int64)
    return Curve(steps, np.array([np.nan if value is None else value for _, value in points], np.float64))
