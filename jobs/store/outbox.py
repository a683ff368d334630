"""The outbox: hints that are due, and queued jobs whose hint seems to be lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Select, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from jobs import clock
from jobs.models import Job, Outbox, has_status
from jobs.status import Status
from jobs.store import jobs

_PUBLISHED: Final = func.coalesce(Job.published_at, Job.created_at)
"""When a hint was last sent for a job; an index is made of this expression."""


def fetch_due(s: Session, limit: int) -> list[Outbox]:
    """Return the unsent hints that are due, oldest first."""
    return list(s.scalars(select(Outbox).where(_is_due()).order_by(Outbox.seq).limit(limit)))


def mark_sent(s: Session, hints: Sequence[Outbox]) -> None:
    """Delete the hints that were sent, and note the time on their jobs."""
    s.execute(delete(Outbox).where(Outbox.seq.in_([hint.seq for hint in hints])))
    job_ids = {hint.job_id for hint in hints}
    s.execute(update(Job).where(Job.id.in_(job_ids)).values(published_at=clock.now()))


def republish(s: Session, after_seconds: float, idle_workers: int) -> list[str]:
    """Write a new hint for queued jobs that no worker has claimed for so long; return their ids.

    A broker may lose a message through many ordinary faults. One hint for each idle worker is enough, since a hint
    stands for any job. While all workers are busy none is written, or hints would pile up behind a long job. None is
    written either while enough hints still wait to be sent.
    """
    needed = idle_workers - _count_due(s, idle_workers)
    if needed <= 0:
        return []
    now = select(clock.now()).scalar_subquery()
    lost = _queued_by_publication(now - after_seconds > _PUBLISHED, limit=needed)
    # Published in the future: a clock has been set back since.
    misdated = _queued_by_publication(now + after_seconds < _PUBLISHED, limit=needed)
    ids = [*s.scalars(lost), *s.scalars(misdated)][:needed]
    if ids:
        moment = clock.read(s)
        s.execute(insert(Outbox), [{"job_id": each, "send_after": moment, "created_at": moment} for each in ids])
    return ids


def _queued_by_publication(*which: ColumnElement[bool], limit: int) -> Select[str]:
    """Return a query for claimable jobs without a hint that waits to be sent, the one published longest ago first."""
    pending = select(Outbox.seq).where(Outbox.job_id == Job.id).exists()
    query = select(Job.id).where(has_status(Status.QUEUED), *which, jobs.claimable_now(), ~pending)
    return query.order_by(_PUBLISHED).limit(limit)


def _count_due(s: Session, most: int) -> int:
    """Return how many hints are due and not yet sent; at most `most`."""
    due = select(Outbox.seq).where(_is_due()).order_by(Outbox.seq).limit(most).subquery()
    return s.execute(select(func.count()).select_from(due)).scalar_one()


def _is_due() -> ColumnElement[bool]:
    # A hint that would wait for longer than the longest delay was written before a clock was set back.
    misdated = Outbox.send_after > clock.now() + jobs.LONGEST_BACKOFF_SECONDS
    return or_(Outbox.send_after <= clock.now(), misdated)
