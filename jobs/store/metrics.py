"""The curves: written in blocks of a tick, read back whole or in part, superseded points left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from jobs.curves import Curve
from jobs.errors import UnknownMetric
from jobs.models import MetricBlock
from jobs.store import attempts


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
    """Store a tick: `values` is (steps, names), of the contiguous steps from `first_step`."""
    assert values.ndim == 2 and values.shape[1] == len(names), values.shape
    for column, name in enumerate(names):
        block = np.ascontiguousarray(values[:, column], dtype="<f4")
        s.merge(
            MetricBlock(
                job_id=job_id,
                name=name,
                attempt=attempt,
                first_step=first_step,
                last_step=first_step + len(block) - 1,
                values=block.tobytes(),
            )
        )


def series(
    s: Session, job_id: str, names: Sequence[str], from_step: int | None = None, to_step: int | None = None
) -> dict[str, Curve]:
    """The curves of `names`, from and to a step inclusive.

    Before its first point a job has no metrics, and every curve is empty; after it, raises `UnknownMetric`.
    """
    known = names_of(s, job_id)
    for name in names:
        if known and name not in known:
            raise UnknownMetric(name, known)
    limit_of = attempts.limits(s, job_id)
    return {name: _curve(s, job_id, name, limit_of, from_step, to_step) for name in names}


def summaries(s: Session, job_id: str) -> list[MetricSummary]:
    """A line a curve, in order of name."""
    limit_of = attempts.limits(s, job_id)
    return [_summary(name, _curve(s, job_id, name, limit_of)) for name in names_of(s, job_id)]


def names_of(s: Session, job_id: str) -> list[str]:
    """The names of a job's curves, sorted."""
    query = select(MetricBlock.name).where(MetricBlock.job_id == job_id).distinct()
    return sorted(s.scalars(query))


def _curve(
    s: Session,
    job_id: str,
    name: str,
    limit_of: Mapping[int, int],
    from_step: int | None = None,
    to_step: int | None = None,
) -> Curve:
    query = select(MetricBlock.attempt, MetricBlock.first_step, MetricBlock.values).where(
        MetricBlock.job_id == job_id, MetricBlock.name == name
    )
    if from_step is not None:
        query = query.where(MetricBlock.last_step >= from_step)
    if to_step is not None:
        query = query.where(MetricBlock.first_step <= to_step)
    curve = _join(s.execute(query.order_by(MetricBlock.first_step, MetricBlock.attempt)), limit_of)
    keep = np.ones(len(curve), dtype=bool)
    if from_step is not None:
        keep &= curve.steps >= from_step
    if to_step is not None:
        keep &= curve.steps <= to_step
    return Curve(curve.steps[keep], curve.values[keep])


def _join(rows: Iterable[tuple[int, int, bytes]], limit_of: Mapping[int, int]) -> Curve:
    """Blocks in order of step, then attempt, as one curve: of each attempt what counts, of a step the latest."""
    steps, values = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for attempt, first_step, blob in rows:
        block = np.frombuffer(blob, dtype="<f4")
        room = limit_of.get(attempt, attempts.NEVER) - first_step + 1
        block = block[: max(0, min(len(block), room))]
        steps.append(np.arange(first_step, first_step + len(block)))
        values.append(block.astype(np.float32))
    joined = np.concatenate(steps)
    # An attempt that starts from scratch measures step 0 again; every other step of a start is its predecessor's.
    last = np.append(joined[1:] != joined[:-1], True)[: len(joined)]
    return Curve(joined[last], np.concatenate(values)[last])


def _summary(name: str, curve: Curve) -> MetricSummary:
    finite = curve.values[np.isfinite(curve.values)]
    return MetricSummary(
        name=name,
        last=plain(finite[-1]) if len(finite) else None,
        last_step=int(curve.steps[-1]) if len(curve) else 0,
        min=plain(finite.min()) if len(finite) else None,
        max=plain(finite.max()) if len(finite) else None,
        count=len(curve),
        nonfinite_count=len(curve) - len(finite),
    )


def plain(value: np.float32) -> float | None:
    """A float32 as the shortest decimal that means it (0.1, not 0.10000000149); None when it is not finite."""
    return float(str(value)) if np.isfinite(value) else None
