"""The curves: written in one block per tick, read back whole or in part, without superseded points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, select, tuple_
from sqlalchemy.orm import Session

from jobs.curves import ReducedCurve
from jobs.errors import UnknownMetricError
from jobs.models import MetricBlock
from jobs.store import attempts, blocks
from jobs.store.upsert import upsert

_BLOCKS_PER_QUERY: Final = 5_000
_SUMMARY_COLUMNS = (
    MetricBlock.name,
    MetricBlock.attempt,
    MetricBlock.first_step,
    MetricBlock.last_step,
    MetricBlock.low,
    MetricBlock.high,
    MetricBlock.last_finite,
    MetricBlock.nonfinite,
)


@dataclass(frozen=True)
class MetricSummary:
    """The summary of one curve. `last`, `min` and `max` are over its finite values; None if it has none."""

    name: str
    last: float | None
    last_step: int
    min: float | None
    max: float | None
    count: int
    nonfinite_count: int


def append(
    s: Session, job_id: str, attempt: int, first_step: int, names: Sequence[str], values: NDArray[np.float32]
) -> None:
    """Store one tick: `values` has the shape (steps, names), for contiguous steps from `first_step`.

    Now and then this also merges the attempt's small blocks. Safe to repeat.
    """
    assert values.ndim == 2 and values.shape[1] == len(names), values.shape
    columns = ((name, blocks.pack(first_step, values[:, column])) for column, name in enumerate(names))
    upsert(s, MetricBlock, [{"job_id": job_id, "name": name, "attempt": attempt, **block} for name, block in columns])
    past = blocks.merge_start(first_step, first_step + len(values) - 1)
    if past is not None:
        _merge(s, job_id, attempt, names, past)


def series(
    s: Session, job_id: str, names: Sequence[str], from_step: int | None = None, to_step: int | None = None
) -> dict[str, ReducedCurve]:
    """Return the curves of `names`, between two steps, both inclusive.

    Before its first point a job has no metrics, and every curve is empty. After it, raises `UnknownMetricError`.
    """
    known = names_of(s, job_id)
    for name in names:
        if known and name not in known:
            raise UnknownMetricError(name, known)
    limit_of = attempts.last_counted_steps(s, job_id)
    return {name: _curve(s, job_id, name, limit_of, from_step, to_step) for name in names}


def summaries(s: Session, job_id: str) -> list[MetricSummary]:
    """Return a summary of each curve, sorted by name. Only blocks that count in part have their values read."""
    limit_of = attempts.last_counted_steps(s, job_id)
    query = select(*_SUMMARY_COLUMNS).where(MetricBlock.job_id == job_id)
    rows = s.execute(query.order_by(MetricBlock.name, MetricBlock.first_step, MetricBlock.attempt)).all()
    by_name = [list(group) for _, group in groupby(rows, lambda row: row.name)]
    counted = [pair for group in by_name for pair in _ends(group, limit_of)]
    partial = [row for row, end in counted if end >= row.first_step and not _has_summary(row, end)]
    values = _values(s, job_id, partial)
    found = [_summary(name, list(group), values) for name, group in groupby(counted, lambda pair: str(pair[0].name))]
    # Sort here, because the order of texts in the database depends on its locale.
    return sorted(found, key=lambda summary: summary.name)


def names_of(s: Session, job_id: str) -> list[str]:
    """Return the names of a job's curves, sorted."""
    query = select(MetricBlock.name).where(MetricBlock.job_id == job_id).distinct()
    return sorted(s.scalars(query))


def _merge(s: Session, job_id: str, attempt: int, names: Sequence[str], past: int) -> None:
    """Merge the contiguous blocks of this attempt that begin past a step."""
    selected = (
        MetricBlock.job_id == job_id,
        MetricBlock.name.in_(names),
        MetricBlock.attempt == attempt,
        MetricBlock.first_step > past,
    )
    query = select(MetricBlock.name, MetricBlock.attempt, MetricBlock.first_step, MetricBlock.values).where(*selected)
    rows = s.execute(query.order_by(MetricBlock.name, MetricBlock.first_step)).all()
    merged = [
        {"job_id": job_id, "name": name, "attempt": attempt, **blocks.pack(first_step, values)}
        for name, group in groupby(rows, lambda row: row.name)
        for curve in [blocks.join([row[1:] for row in group], {})]
        for first_step, values in blocks.contiguous_runs(curve, len(curve))
    ]
    if len(merged) < len(rows):
        s.execute(delete(MetricBlock).where(*selected).execution_options(synchronize_session=False))
        upsert(s, MetricBlock, merged)


def _curve(
    s: Session,
    job_id: str,
    name: str,
    limit_of: Mapping[int, int],
    from_step: int | None = None,
    to_step: int | None = None,
) -> ReducedCurve:
    query = select(MetricBlock.attempt, MetricBlock.first_step, MetricBlock.values).where(
        MetricBlock.job_id == job_id, MetricBlock.name == name
    )
    if from_step is not None:
        query = query.where(MetricBlock.last_step >= from_step)
    if to_step is not None:
        query = query.where(MetricBlock.first_step <= to_step)
    rows = s.execute(query.order_by(MetricBlock.first_step, MetricBlock.attempt)).all()
    curve = blocks.join(rows, limit_of)
    first = 0 if from_step is None else int(np.searchsorted(curve.steps, from_step))
    end = len(curve) if to_step is None else int(np.searchsorted(curve.steps, to_step, side="right"))
    return ReducedCurve(curve.steps[first:end], curve.values[first:end])


def _ends(rows: Sequence[Any], limit_of: Mapping[int, int]) -> list[tuple[Any, int]]:
    """Return the blocks of a curve, each with the last step that counts."""
    first, last = (np.array([row[column] for row in rows], dtype=np.int64) for column in (2, 3))
    return list(
        zip(rows, blocks.counted_ends([row.attempt for row in rows], first, last, limit_of).tolist(), strict=True)
    )


def _values(s: Session, job_id: str, rows: Sequence[Any]) -> dict[tuple[str, int, int], bytes]:
    """Return the values of these blocks, by name, attempt and first step."""
    if not rows:
        return {}
    place = tuple_(MetricBlock.attempt, MetricBlock.first_step)
    places = sorted({(row.attempt, row.first_step) for row in rows})
    found = {}
    # In portions, because a statement binds at most 32,766 values.
    for begin in range(0, len(places), _BLOCKS_PER_QUERY):
        query = select(MetricBlock.name, MetricBlock.attempt, MetricBlock.first_step, MetricBlock.values).where(
            MetricBlock.job_id == job_id,
            MetricBlock.name.in_({row.name for row in rows}),
            place.in_(places[begin : begin + _BLOCKS_PER_QUERY]),
        )
        found.update({(name, attempt, first): values for name, attempt, first, values in s.execute(query)})
    return found


def _summary(
    name: str, counted: Sequence[tuple[Any, int]], values: Mapping[tuple[str, int, int], bytes]
) -> MetricSummary:
    sums = [
        row._asdict()
        if _has_summary(row, end)
        else _part(values[name, row.attempt, row.first_step], row.first_step, end)
        for row, end in counted
        if end >= row.first_step
    ]
    lows, highs, lasts = ([b[key] for b in sums if b[key] is not None] for key in ("low", "high", "last_finite"))
    return MetricSummary(
        name=name,
        last=shortest_decimal(np.float32(lasts[-1])) if lasts else None,
        last_step=sums[-1]["last_step"] if sums else 0,
        min=shortest_decimal(np.float32(min(lows))) if lows else None,
        max=shortest_decimal(np.float32(max(highs))) if highs else None,
        count=sum(b["last_step"] - b["first_step"] + 1 for b in sums),
        nonfinite_count=sum(b["nonfinite"] for b in sums),
    )


def _has_summary(row: Any, end: int) -> bool:
    """Return whether the summary columns suffice. A trainer from before migration 0004 left them empty."""
    nothing_finite = row.nonfinite == row.last_step - row.first_step + 1
    return bool(end == row.last_step and (row.low is not None or nothing_finite))


def _part(blob: bytes, first_step: int, end: int) -> dict[str, Any]:
    """Return the packed columns of a block up to step `end`."""
    return blocks.pack(first_step, blocks.unpack(blob)[: end - first_step + 1])


def shortest_decimal(value: np.float32) -> float | None:
    """Return a float32 as the shortest decimal with the same value (0.1, not 0.10000000149); None if not finite."""
    return float(str(value)) if np.isfinite(value) else None
