"""The events of jobs, in order. A job's sequence number is drawn under its row's lock, so it has no gap."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from jobs import clock
from jobs.models import Job, JobEvent
from jobs.store.callers import acts, deliveries

PROGRESS: Final = "job.progress"
_PROGRESS_SECONDS: Final = 1.0


@dataclass(frozen=True)
class EventPosition:
    """The number of a job's last event, its status at that event, and its tenant."""

    job_id: str
    seq: int
    status: str
    tenant: str


def record(
    s: Session,
    job_id: str,
    type: str,
    data: dict[str, Any],
    *,
    attempt: int,
    ends_job: bool = False,
    actor: str | None = None,
) -> JobEvent:
    """Write the job's next event and the webhook deliveries for it, in the caller's transaction.

    `actor` is the caller who requested it; None: the actor of the transaction.
    """
    seq = s.execute(
        update(Job).where(Job.id == job_id).values(event_seq=Job.event_seq + 1).returning(Job.event_seq)
    ).scalar_one()
    event = JobEvent(
        job_id=job_id,
        seq=seq,
        type=type,
        attempt=attempt,
        data=data,
        ends_job=int(ends_job),
        actor=actor or acts.actor(s),
        at=clock.read(s),
    )
    s.add(event)
    s.flush()
    deliveries.enqueue(s, event)
    return event


def record_progress(s: Session, job_id: str, step: int, *, attempt: int) -> None:
    """Write that the job is at `step`, at most once a second, so that readers of events need not read every write."""
    last = select(JobEvent.at).where(JobEvent.job_id == job_id, JobEvent.type == PROGRESS)
    at = s.scalars(last.order_by(JobEvent.seq.desc()).limit(1)).one_or_none()
    if at is None or clock.read(s) - at >= _PROGRESS_SECONDS:
        record(s, job_id, PROGRESS, {"step": step}, attempt=attempt)


def page(s: Session, job_id: str, after: int, limit: int) -> list[JobEvent]:
    """Return up to `limit` events with a number above `after`, oldest first."""
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.seq > after)
    return list(s.scalars(query.order_by(JobEvent.seq).limit(limit)))


def positions(s: Session, job_ids: Collection[str]) -> list[EventPosition]:
    """Return the event position of each of these jobs that exists, with one query for all."""
    query = select(Job.id, Job.event_seq, Job.status, Job.tenant).where(Job.id.in_(job_ids))
    return [EventPosition(*row) for row in s.execute(query)]
