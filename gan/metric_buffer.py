"""Rows of metrics, one for each step, that wait for the next check of health. A checkpoint keeps them by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]


class MetricRows(NamedTuple):
    """The metrics of consecutive steps."""

    names: tuple[str, ...]
    values: Rows
    """(steps, len(names)); NaN and infinity are left as they came."""


class MetricBuffer:
    """The rows since the last check of health.

    A checkpoint of an older or newer version of the program may hold rows of fewer or of more metrics. Such rows and
    the rows of this version are joined by name, and only the metrics that all rows have are kept: a missing value
    must not become NaN, because health takes NaN for a step that is not finite.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._parts: list[MetricRows] = []

    def append(self, rows: MetricRows) -> None:
        """Append `rows`, those of the steps after the last ones."""
        self._parts.append(rows)

    def joined(self, *later: MetricRows) -> MetricRows:
        """Return all rows and those of `later`, with the metrics that all of them have, in this version's order."""
        parts = [*self._parts, *later]
        names = tuple(name for name in self._names if all(name in part.names for part in parts))
        empty = np.empty((0, len(names)), dtype=np.float32)
        chosen = [part.values[:, [part.names.index(name) for name in names]] for part in parts]
        return MetricRows(names, np.concatenate([empty, *chosen]))

    def take(self) -> MetricRows:
        """Return all rows as `joined` does, and drop them."""
        rows = self.joined()
        self._parts = []
        return rows
