"""The outbox: hints that are due, and queued jobs whose hint seems to be lost."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from jobs import clock
from jobs.models import Job, Outbox
from jobs.status import Status
from jobs.store import jobs


def fetch_due(s: Session, limit: int) -> list[Outbox]:
    """Return the unsent hints that are due, oldest first."""
    # A hint that would wait for longer than the longest delay was written before a clock was set back.
    misdated = Outbox.send_after > clock.now() + jobs.LONGEST_BACKOFF_SECONDS
    query = select(Outbox).where(or_(Outbox.send_after <= clock.now(), misdated)).order_by(Outbox.seq).limit(limit)
    return list(s.scalars(query))


def mark_sent(s: Session, hints: Sequence[Outbox]) -> None:
    """Delete the hints that were sent, and note the time on their jobs."""
    s.execute(delete(Outbox).where(Outbox.seq.in_([hint.seq for hint in hints])))
    job_ids = {hint.job_id for hint in hints}
    s.execute(update(Job).where(Job.id.in_(job_ids)).values(published_at=clock.now()))


def republish(s: Session, after_seconds: float, idle_workers: int) -> list[str]:
    """Write a new hint for queued jobs that no worker has claimed for so long; return their ids.

    A broker may lose a message through many ordinary faults. One hint for each idle worker is enough, since a hint
    stands for any job. While all workers are busy none is written, or hints would pile up behind a long job.
    """
    pending = select(Outbox.seq).where(Outbox.job_id == Job.id).exists()
    published = func.coalesce(Job.published_at, Job.created_at)
    query = select(Job.id).where(
        Job.status == Status.QUEUED.value,
        jobs.claimable_now(),
        or_(published < clock.now() - after_seconds, published > clock.now() + after_seconds),
        ~pending,
    )
    ids = list(s.scalars(query.order_by(Job.priority.desc(), Job.created_at).limit(idle_workers)))
    for job_id in ids:
        jobs.add_hint(s, job_id, send_after=clock.read(s))
    return ids
