"""Whose turn it is: the tenant's with the fewest jobs that run, of those the longest unserved; then priority and age.

A tenant of five thousand jobs delays another's one by one job at most. Who has all jobs running that it may is passed
over until one of them has ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ScalarSelect, case, false, func, or_, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from jobs import tenancy
from jobs.errors import QueueFullError
from jobs.models import Job, Tenant
from jobs.status import Status
from jobs.store.jobs import claimable_now

_MOST_TRIED: Final = 100


@dataclass(frozen=True)
class QueuePosition:
    """Where a queued job stands: how many would be claimed before it; `held`: its tenant may run no more now;
    `spent`: nor ever, with the device hours that it has.
    """

    ahead: int
    held: bool = False
    spent: bool = False


@dataclass(frozen=True)
class _Line:
    """A tenant's part of the queue."""

    running: int
    served_at: float
    most: int | None
    waiting: int
    spent: bool

    @property
    def room(self) -> int:
        """How many of those that wait may run beside those that do."""
        if self.spent:
            return 0
        return self.waiting if self.most is None else max(0, min(self.waiting, self.most - self.running))

    def order(self, tenant: str) -> tuple[int, float, str]:
        """Who is first of those that run as many: one that has run as many all along was served before the others."""
        return -self.running, self.served_at, tenant

    def before(self, place: int) -> int:
        """How many of its jobs begin while it has no more than `place` at a time."""
        return max(0, min(self.room, place - self.running))


def require_room(s: Session, most: int) -> None:
    """Raises `QueueFullError` where `most` jobs wait already, all tenants' together.

    Two that come at the same time may both find room for one: what it guards is the service, not a price.
    """
    waiting = select(Job.id).where(Job.status == Status.QUEUED.value).limit(most).subquery()
    count = s.execute(select(func.count()).select_from(waiting), execution_options=tenancy.ALL_TENANTS).scalar_one()
    if count >= most:
        raise QueueFullError(f"{count:,} jobs wait already, and no more are taken in; submit it later.")


def serving_order(s: Session, gpus: int) -> list[str]:
    """The tenants that have a job for a worker with so many GPUs, in the order in which they are served."""
    there = (
        select(Job.id)
        .where(Job.status == Status.QUEUED.value, Job.tenant == Tenant.id, claimable_now(), Job.gpus <= gpus)
        .exists()
    )
    running = _running()
    order = (running, Tenant.served_at, Tenant.id)
    free = or_(Tenant.max_running.is_(None), running < Tenant.max_running)
    query = select(Tenant.id).where(there, free, ~_spent())
    return list(s.scalars(query.order_by(*order).limit(_MOST_TRIED)))


def lock_tenant(s: Session, tenant: str) -> Tenant | None:
    """The tenant's record, held until this transaction ends; None: it has all jobs running by now that it may."""
    row = s.scalars(select(Tenant).where(Tenant.id == tenant).with_for_update()).one_or_none()
    if row is None or row.max_running is None:
        return row
    # Asked again: somebody may have had the record before us.
    running = s.scalar(select(_running()).where(Tenant.id == tenant)) or 0
    return row if running < row.max_running else None


def positions(s: Session, rows: Sequence[Job], most_gpus: int | None) -> dict[str, QueuePosition]:
    """Of each of `rows` that is queued: where it stands. Two queries for all of them.

    `most_gpus` is the most that a live worker has (None: there is none): a job that nobody can run delays nobody.
    """
    queued = [row for row in rows if row.status == Status.QUEUED]
    if not queued:
        return {}
    lines = _lines(s, most_gpus)
    ranks = _ranks(s, queued, most_gpus)
    return {row.id: _place(row, ranks[row.id], lines) for row in queued if row.id in ranks}


def _running() -> ScalarSelect[int]:
    return _count(Job.status == Status.RUNNING.value)


def _spent() -> ColumnElement[bool]:
    """That a tenant's device hours are used up."""
    hours = Tenant.device_seconds / 3600.0
    return case((Tenant.device_hours.is_(None), false()), else_=hours >= Tenant.device_hours)


def _count(*which: ColumnElement[bool]) -> ScalarSelect[int]:
    """Of each tenant's jobs."""
    return select(func.count()).where(Job.tenant == Tenant.id, *which).correlate(Tenant).scalar_subquery()


def _lines(s: Session, most_gpus: int | None) -> dict[str, _Line]:
    waiting = _count(Job.status == Status.QUEUED.value, Job.gpus <= (most_gpus or 0))
    each = select(Tenant.id, _running(), Tenant.served_at, Tenant.max_running, waiting, _spent())
    rows = s.execute(each, execution_options=tenancy.ALL_TENANTS)
    return {
        tenant: _Line(running, served, most, waits, bool(spent))
        for tenant, running, served, most, waits, spent in rows
    }


def _ranks(s: Session, queued: Iterable[Job], most_gpus: int | None) -> dict[str, int]:
    """How many of its own tenant's are claimed before each."""
    runs_here = case((Job.gpus <= (most_gpus or 0), 1), else_=0)
    order = (Job.priority.desc(), Job.created_at, Job.id)
    ahead = func.sum(runs_here).over(partition_by=Job.tenant, order_by=order, rows=(None, -1))
    own = Job.tenant.in_({row.tenant for row in queued})
    ranked = select(Job.id, func.coalesce(ahead, 0).label("ahead")).where(Job.status == Status.QUEUED.value, own)
    found = ranked.subquery()
    query = select(found.c.id, found.c.ahead).where(found.c.id.in_([row.id for row in queued]))
    return {job_id: int(count) for job_id, count in s.execute(query)}


def _place(row: Job, rank: int, lines: dict[str, _Line]) -> QueuePosition:
    own = lines[row.tenant]
    # It is claimed when its tenant runs `turn` jobs; who runs fewer then, or as many and waited longer, is first.
    turn, mine = own.running + rank, own.order(row.tenant)
    others = sum(
        line.before(turn + (line.order(tenant) < mine)) for tenant, line in lines.items() if tenant != row.tenant
    )
    return QueuePosition(rank + others, held=own.most is not None and own.running >= own.most, spent=own.spent)
