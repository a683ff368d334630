"""Evaluations: the measured quality of the images at a step, without superseded ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from jobs import clock
from jobs.errors import BadCursorError
from jobs.models import Evaluation
from jobs.store import attempts, events, metrics
from jobs.store.pages import Page, cut, decode


class EvaluationPlace(NamedTuple):
    """The step and attempt that identify an evaluation of a job."""

    step: int
    attempt: int


def register(
    s: Session,
    job_id: str,
    attempt: int,
    step: int,
    figures: dict[str, float | None],
    details: dict[str, Any],
    *,
    best_so_far: bool,
) -> None:
    """Record an evaluation, and each of its figures as a point of a curve; inside a fenced transaction.

    `figures` are None where they are not finite. `details` is the rest of the evaluation, as JSON. Safe to repeat.
    """
    if s.get(Evaluation, (job_id, step, attempt)) is not None:
        return
    row = Evaluation(
        job_id=job_id,
        step=step,
        attempt=attempt,
        best_so_far=best_so_far,
        metrics=figures,
        details=details,
        created_at=clock.read(s),
    )
    s.add(row)
    point = np.array([[np.nan if value is None else value for value in figures.values()]], np.float32)
    metrics.append(s, job_id, attempt, step, list(figures), point)
    data = {"step": step, "metrics": figures, "is_best": best_so_far}
    events.record(s, job_id, "evaluation.completed", data, attempt=attempt)


def page(s: Session, job_id: str, *, limit: int, cursor: str | None = None) -> Page[Evaluation]:
    """Return a page of the evaluations that count, newest first. Raises `BadCursorError`."""
    name = f"evaluations of {job_id}"
    before = attempts.NO_LIMIT if cursor is None else _step(decode(cursor, name))
    places = [place for place, _ in _counted(s, job_id) if place.step < before][-limit - 1 :]
    rows = _rows(s, job_id, places) if places else []
    return cut(rows, limit, name, lambda row: str(row.step))


def best(s: Session, job_id: str) -> EvaluationPlace | None:
    """Return the place of the best evaluation; None before the first."""
    return next((place for place, best_so_far in reversed(_counted(s, job_id)) if best_so_far), None)


def latest(s: Session, job_id: str) -> Evaluation | None:
    """Return the newest evaluation that counts; None before the first."""
    counted = _counted(s, job_id)
    return _rows(s, job_id, [counted[-1][0]])[0] if counted else None


def _counted(s: Session, job_id: str) -> list[tuple[EvaluationPlace, bool]]:
    """Return, in order of step and one a step, the place of each evaluation and whether it was the best so far."""
    limit_of = attempts.last_counted_steps(s, job_id)
    query = (
        select(Evaluation.step, Evaluation.attempt, Evaluation.best_so_far)
        .where(Evaluation.job_id == job_id)
        .order_by(Evaluation.step, Evaluation.attempt)
    )
    found = {
        step: (EvaluationPlace(step, attempt), best_so_far)
        for step, attempt, best_so_far in s.execute(query)
        if step <= limit_of.get(attempt, attempts.NO_LIMIT)
    }
    return list(found.values())


def _rows(s: Session, job_id: str, places: list[EvaluationPlace]) -> list[Evaluation]:
    attempt_of = dict(places)
    query = select(Evaluation).where(Evaluation.job_id == job_id, Evaluation.step.in_(attempt_of))
    rows = s.scalars(query.order_by(Evaluation.step.desc()))
    return [row for row in rows if row.attempt == attempt_of[row.step]]


def _step(key: str) -> int:
    if not (key.isdecimal() and int(key) < attempts.NO_LIMIT):
        raise BadCursorError
    return int(key)
