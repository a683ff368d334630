"""A curve as rows: packed into blocks with a summary, joined again, and small blocks merged into large ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from jobs.curves import ReducedCurve
from jobs.store.attempts import NO_LIMIT

MERGED_STEPS: Final = (8192, 256)
"""Blocks are merged when their attempt passes a multiple of one of these numbers of steps.

A tick is a second, which may be one step or thousands. With the first number alone, a slow job would merge thousands
of rows of each curve at once. With the second alone, a fast job would not merge at all.
"""


def pack(first_step: int, values: NDArray[np.float32]) -> dict[str, Any]:
    """Return the columns of a block of contiguous steps from `first_step`: its values and their summary."""
    block = np.ascontiguousarray(values, dtype="<f4")
    finite = block[np.isfinite(block)]
    return {
        "first_step": first_step,
        "last_step": first_step + len(block) - 1,
        "low": float(finite.min()) if len(finite) else None,
        "high": float(finite.max()) if len(finite) else None,
        "last_finite": float(finite[-1]) if len(finite) else None,
        "nonfinite": len(block) - len(finite),
        "values": block.tobytes(),
    }


def unpack(blob: bytes) -> NDArray[np.float32]:
    """Return the values of a block, or of several blocks whose bytes were concatenated."""
    return np.frombuffer(blob, dtype="<f4").astype(np.float32, copy=False)


def counted_ends(
    attempt: Sequence[int], first: NDArray[np.int64], last: NDArray[np.int64], limit_of: Mapping[int, int]
) -> NDArray[np.int64]:
    """Return the last step of each block that counts; it is below the block's first step where none counts.

    The blocks are in order of step, then attempt. The steps of an attempt count up to its limit. If a step occurs
    twice, as step 0 does after a start from scratch, the value of the later block counts.
    """
    found = np.minimum(last, np.array([limit_of.get(number, NO_LIMIT) for number in attempt], dtype=np.int64))
    alive = np.flatnonzero(found >= first)
    found[alive[:-1]] = np.minimum(found[alive[:-1]], first[alive[1:]] - 1)
    return found


def join(rows: Sequence[Sequence[Any]], limit_of: Mapping[int, int]) -> ReducedCurve:
    """Return blocks (attempt, first step, values), in order of step, then attempt, as one curve of what counts."""
    if not rows:
        return ReducedCurve(np.empty(0, np.int64), np.empty(0, np.float32))
    attempt, first_steps, blobs = zip(*rows, strict=True)
    values, lengths = unpack(b"".join(blobs)), np.array([len(blob) // 4 for blob in blobs])
    first = np.array(first_steps, dtype=np.int64)
    steps = np.repeat(first - (np.cumsum(lengths) - lengths), lengths) + np.arange(len(values))
    last = first + lengths - 1
    counted = counted_ends(attempt, first, last, limit_of)
    if np.array_equal(counted, last):
        return ReducedCurve(steps, values)
    keep = steps <= np.repeat(counted, lengths)
    return ReducedCurve(steps[keep], values[keep])


def contiguous_runs(curve: ReducedCurve, longest: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield (first step, values) of each run of contiguous steps, split into at most `longest` steps."""
    gaps = np.flatnonzero(np.diff(curve.steps) != 1) + 1
    for steps, values in zip(np.split(curve.steps, gaps), np.split(curve.values, gaps), strict=True):
        for start in range(0, len(steps), longest):
            yield int(steps[start]), values[start : start + longest]


def merge_start(first_step: int, last_step: int) -> int | None:
    """Return the step past which an attempt's blocks have to be merged after this write; None: not yet."""
    for size in MERGED_STEPS:
        if last_step - first_step + 1 < size and last_step // size > (first_step - 1) // size:
            return (last_step // size - 1) * size
    return None
