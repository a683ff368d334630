"""Previews: the grids drawn during training, one for each step, without superseded ones."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from jobs import clock
from jobs.errors import PreviewNotFoundError
from jobs.models import Preview
from jobs.storage import StoredFile
from jobs.store import attempts, events


def register(s: Session, job_id: str, attempt: int, step: int, file: StoredFile) -> Preview:
    """Register a preview whose file is durable, inside a fenced transaction."""
    row = Preview(
        job_id=job_id,
        step=step,
        attempt=attempt,
        key=file.key,
        bytes=file.bytes,
        sha256=file.sha256,
        created_at=clock.read(s),
    )
    row = s.merge(row)
    events.record(s, job_id, "preview.created", {"step": step}, attempt=attempt)
    return row


def listing(s: Session, job_id: str) -> list[Preview]:
    """Return the previews in order of step. Where two attempts drew the same step, the later one counts."""
    limit_of = attempts.last_counted_steps(s, job_id)
    query = select(Preview).where(Preview.job_id == job_id).order_by(Preview.step, Preview.attempt)
    rows = [row for row in s.scalars(query) if row.step <= limit_of.get(row.attempt, attempts.NO_LIMIT)]
    return list({row.step: row for row in rows}.values())


def get(s: Session, job_id: str, step: int) -> Preview:
    """Return the preview of a step. Raises `PreviewNotFoundError`."""
    for row in listing(s, job_id):
        if row.step == step:
            return row
    raise PreviewNotFoundError(f"{job_id} at step {step}")
