"""The curves: written in blocks of a tick, read back whole or in part, superseded points left out."""

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

_PLACES_A_QUERY: Final = 5_000
_SUMS = (
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
    """One curve in a line; `last`, `min` and `max` are of its finite values, None when it has none."""

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
    """Store a tick: `values` is (steps, names), of the contiguous steps from `first_step`.

    Now and then the attempt's small blocks are merged on the way. Safe to repeat.
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
    """The curves of `names`, from and to a step inclusive.

    Before its first point a job has no metrics, and every curve is empty; after it, raises `UnknownMetricError`.
    """
    known = names_of(s, job_id)
    for name in names:
        if known and name not in known:
            raise UnknownMetricError(name, known)
    limit_of = attempts.last_counted_steps(s, job_id)
    return {name: _curve(s, job_id, name, limit_of, from_step, to_step) for name in names}


def summaries(s: Session, job_id: str) -> list[MetricSummary]:
    """A line a curve, in order of name; of the values themselves only blocks that count in part are read."""
    limit_of = attempts.last_counted_steps(s, job_id)
    query = select(*_SUMS).where(MetricBlock.job_id == job_id)
    rows = s.execute(query.order_by(MetricBlock.name, MetricBlock.first_step, MetricBlock.attempt)).all()
    by_name = [list(group) for _, group in groupby(rows, lambda row: row.name)]
    counted = [pair for group in by_name for pair in _ends(group, limit_of)]
    cut = _values(s, job_id, [row for row, end in counted if end >= row.first_step and not _is_summed_up(row, end)])
    found = [_summary(name, list(group), cut) for name, group in groupby(counted, lambda pair: str(pair[0].name))]
    # Not as the database orders texts, which depends on its locale.
    return sorted(found, key=lambda summary: summary.name)


def names_of(s: Session, job_id: str) -> list[str]:
    """The names of a job's curves, sorted."""
    query = select(MetricBlock.name).where(MetricBlock.job_id == job_id).distinct()
    return sorted(s.scalars(query))


def _merge(s: Session, job_id: str, attempt: int, names: Sequence[str], past: int) -> None:
    """Make one block of those of this attempt that begin past a step, where they follow upon each other."""
    there = (
        MetricBlock.job_id == job_id,
        MetricBlock.name.in_(names),
        MetricBlock.attempt == attempt,
        MetricBlock.first_step > past,
    )
    query = select(MetricBlock.name, MetricBlock.attempt, MetricBlock.first_step, MetricBlock.values).where(*there)
    rows = s.execute(query.order_by(MetricBlock.name, MetricBlock.first_step)).all()
    merged = [
        {"job_id": job_id, "name": name, "attempt": attempt, **blocks.pack(first_step, values)}
        for name, group in groupby(rows, lambda row: row.name)
        for curve in [blocks.join([row[1:] for row in group], {})]
        for first_step, values in blocks.contiguous_runs(curve, len(curve))
    ]
    if len(merged) < len(rows):
        s.execute(delete(MetricBlock).where(*there).execution_options(synchronize_session=False))
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
    """The blocks of a curve, and the last step of each that counts."""
    first, last = (np.array([row[place] for row in rows], dtype=np.int64) for place in (2, 3))
    return list(
        zip(rows, blocks.counted_ends([row.attempt for row in rows], first, last, limit_of).tolist(), strict=True)
    )


def _values(s: Session, job_id: str, rows: Sequence[Any]) -> dict[tuple[str, int, int], bytes]:
    """The values of these blocks, by name, attempt and first step."""
    if not rows:
        return {}
    place = tuple_(MetricBlock.attempt, MetricBlock.first_step)
    places = sorted({(row.attempt, row.first_step) for row in rows})
    found = {}
    # In portions: a statement binds 32,766 values at most.
    for begin in range(0, len(places), _PLACES_A_QUERY):
        query = select(MetricBlock.name, MetricBlock.attempt, MetricBlock.first_step, MetricBlock.values).where(
            MetricBlock.job_id == job_id,
            MetricBlock.name.in_({row.name for row in rows}),
            place.in_(places[begin : begin + _PLACES_A_QUERY]),
        )
        found.update({(name, attempt, first): values for name, attempt, first, values in s.execute(query)})
    return found


def _summary(
    name: str, counted: Sequence[tuple[Any, int]], cut: Mapping[tuple[str, int, int], bytes]
) -> MetricSummary:
    sums = [
        row._asdict()
        if _is_summed_up(row, end)
        else _part(cut[name, row.attempt, row.first_step], row.first_step, end)
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


def _is_summed_up(row: Any, end: int) -> bool:
    """Whether what stands beside the values says all; a trainer from before migration 0004 left it out."""
    nothing_finite = row.nonfinite == row.last_step - row.first_step + 1
    return bool(end == row.last_step and (row.low is not None or nothing_finite))


def _part(blob: bytes, first_step: int, end: int) -> dict[str, Any]:
    """What the values of a block come to, up to a step of it."""
    return blocks.pack(first_step, blocks.unpack(blob)[: end - first_step + 1])


def shortest_decimal(value: np.float32) -> float | None:
    """A float32 as the shortest decimal that means it (0.1, not 0.10000000149); None when it is not finite."""
    return float(str(value)) if np.isfinite(value) else None
