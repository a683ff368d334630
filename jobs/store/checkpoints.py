"""Checkpoints: registered once their files are durable, chosen for resuming or drawing, retired by age."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from jobs import clock
from jobs.errors import CheckpointNotFoundError, NoCheckpointError
from jobs.ids import new_id
from jobs.models import Checkpoint, Job
from jobs.status import TERMINAL
from jobs.storage import StoredFile
from jobs.store import events
from jobs.store.pages import Page, cut, decode


def register(
    s: Session,
    job_id: str,
    attempt: int,
    step: int,
    metrics: dict[str, Any],
    file: StoredFile,
    weights: StoredFile,
    *,
    best: bool = False,
) -> Checkpoint:
    """Register a checkpoint whose files are durable, inside a fenced transaction and after its metrics.

    `best` makes it the job's best checkpoint in place of any other.
    """
    row = Checkpoint(
        id=new_id("ckpt"),
        job_id=job_id,
        attempt=attempt,
        step=step,
        metrics=metrics,
        state="ready",
        key=file.key,
        bytes=file.bytes,
        sha256=file.sha256,
        weights_key=weights.key,
        weights_bytes=weights.bytes,
        weights_sha256=weights.sha256,
        created_at=clock.read(s),
    )
    s.add(row)
    s.execute(update(Job).where(Job.id == job_id).values(checkpoint_requested_at=None))
    if best:
        mark_best(s, job_id, step)
    data = {"checkpoint_id": row.id, "step": step, "is_best": best}
    events.record(s, job_id, "checkpoint.created", data, attempt=attempt)
    return row


def mark_best(s: Session, job_id: str, step: int | None) -> Checkpoint | None:
    """Make the ready checkpoint of `step` the job's only best one and return it. None: the job has no best one."""
    s.execute(update(Checkpoint).where(Checkpoint.job_id == job_id, Checkpoint.is_best).values(is_best=False))
    if step is None:
        return None
    query = _ready(job_id).where(Checkpoint.step == step).order_by(Checkpoint.attempt.desc())
    row: Checkpoint | None = s.scalars(query.limit(1)).one_or_none()
    if row is not None:
        row.is_best = True
        s.flush()
    return row


def page(s: Session, job_id: str, *, limit: int, cursor: str | None = None) -> Page[Checkpoint]:
    """Return a page of the ready checkpoints, newest first."""
    query = _ready(job_id).order_by(Checkpoint.id.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(Checkpoint.id < decode(cursor, job_id))
    return cut(list(s.scalars(query)), limit, job_id, lambda row: row.id)


def get(s: Session, checkpoint_id: str) -> Checkpoint:
    """Return a ready checkpoint. Raises `CheckpointNotFoundError`, also for a retired one."""
    row = s.get(Checkpoint, checkpoint_id)
    if row is None or row.state != "ready":
        raise CheckpointNotFoundError(checkpoint_id)
    return row


def choose(s: Session, job_id: str, which: str | None) -> Checkpoint:
    """Return the "best" or "last" checkpoint, or the one with the id `which`.

    None stands for the best if any was evaluated, else for the last. Raises `NoCheckpointError` when there is no such
    checkpoint yet, `CheckpointNotFoundError` for an id.
    """
    if which not in (None, "best", "last"):
        assert which is not None
        row = get(s, which)
        if row.job_id != job_id:
            raise CheckpointNotFoundError(which)
        return row
    best = None if which == "last" else s.scalars(_ready(job_id).where(Checkpoint.is_best)).first()
    if best is None and which == "best":
        raise NoCheckpointError(
            "This job has no best checkpoint, because no checkpoint was evaluated. Use 'last' instead."
        )
    chosen = best or newest_ready(s, job_id)
    if chosen is None:
        status = s.get_one(Job, job_id).status
        if status in TERMINAL:
            raise NoCheckpointError(
                f"This job ended as {status} before its first checkpoint, so there is nothing to draw from."
            )
        raise NoCheckpointError("This job has no checkpoint yet. Try again after it has trained for a while.")
    return chosen


def newest_ready(s: Session, job_id: str) -> Checkpoint | None:
    """Return the checkpoint to resume from: the ready one of the latest step; None if there is none."""
    query = _ready(job_id).order_by(Checkpoint.step.desc(), Checkpoint.attempt.desc())
    return s.scalars(query.limit(1)).one_or_none()


def count(s: Session, job_id: str) -> int:
    """Return how many checkpoints were ever registered, bad and retired ones included."""
    return len(s.scalars(select(Checkpoint.id).where(Checkpoint.job_id == job_id)).all())


def mark_bad(s: Session, checkpoint_id: str, why: str) -> None:
    """Mark a checkpoint whose file is not what was written, so that nothing uses it any more."""
    row = s.get_one(Checkpoint, checkpoint_id)
    row.state, row.is_best = "bad", False
    data = {"checkpoint_id": row.id, "step": row.step, "reason": why}
    events.record(s, row.job_id, "checkpoint.bad", data, attempt=row.attempt)


def record_failure(s: Session, job_id: str, attempt: int, step: int, why: str) -> None:
    """Record that a due checkpoint could not be saved. The existing ones stay valid."""
    events.record(s, job_id, "checkpoint.failed", {"step": step, "reason": why}, attempt=attempt)


def retire(s: Session, job_id: str, keep_last: int) -> list[Checkpoint]:
    """Mark all but the newest `keep_last` checkpoints and the best one as pruned, and return them.

    The caller deletes their files after the commit.
    """
    rows = s.scalars(_ready(job_id).order_by(Checkpoint.step.desc(), Checkpoint.attempt.desc())).all()
    old = [row for row in rows[keep_last:] if not row.is_best]
    for row in old:
        row.state = "pruned"
    s.flush()
    return old


def _ready(job_id: str) -> Any:
    return select(Checkpoint).where(Checkpoint.job_id == job_id, Checkpoint.state == "ready")
