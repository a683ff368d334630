"""The queue: which tenant is served next, and the position of each job.

The tenant with the fewest running jobs is next; among equals, the one served longest ago. Its jobs follow by
priority, then age. So a tenant with five thousand jobs delays another tenant by one job at most. A tenant that runs
as many jobs as it may is skipped until one of them ends.
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

_MAX_TENANTS_TRIED: Final = 100


@dataclass(frozen=True)
class QueuePosition:
    """The position of a queued job: how many jobs would be claimed before it."""

    ahead: int
    held: bool = False
    """The tenant runs as many jobs as it may at the same time."""
    spent: bool = False
    """The tenant's device hours are used up."""


@dataclass(frozen=True)
class _TenantQueue:
    """One tenant's part of the queue."""

    running: int
    served_at: float
    max_running: int | None
    waiting: int
    spent: bool

    @property
    def room(self) -> int:
        """How many waiting jobs may run beside those that run."""
        if self.spent:
            return 0
        if self.max_running is None:
            return self.waiting
        return max(0, min(self.waiting, self.max_running - self.running))

    def order(self, tenant: str) -> tuple[int, float, str]:
        """Return the sort key among tenants at the moment when they run equally many jobs.

        The tenant that runs more jobs now goes first, because it was served earlier.
        """
        return -self.running, self.served_at, tenant

    def before(self, running: int) -> int:
        """Return how many jobs of this tenant start while it runs at most `running` jobs."""
        return max(0, min(self.room, running - self.running))


def require_room(s: Session, most: int) -> None:
    """Raise `QueueFullError` if `most` jobs of all tenants together already wait.

    Two concurrent requests may both find room for one job. The limit protects the service and need not be exact.
    """
    waiting = select(Job.id).where(Job.status == Status.QUEUED.value).limit(most).subquery()
    count = s.execute(select(func.count()).select_from(waiting), execution_options=tenancy.ALL_TENANTS).scalar_one()
    if count >= most:
        raise QueueFullError(f"{count:,} jobs already wait, which is the maximum. Submit this job later.")


def serving_order(s: Session, gpus: int) -> list[str]:
    """Return the tenants with a claimable job for a worker with `gpus` GPUs, in serving order."""
    has_job = (
        select(Job.id)
        .where(Job.status == Status.QUEUED.value, Job.tenant == Tenant.id, claimable_now(), Job.gpus <= gpus)
        .exists()
    )
    running = _running()
    order = (running, Tenant.served_at, Tenant.id)
    below_limit = or_(Tenant.max_running.is_(None), running < Tenant.max_running)
    query = select(Tenant.id).where(has_job, below_limit, ~_spent())
    return list(s.scalars(query.order_by(*order).limit(_MAX_TENANTS_TRIED)))


def lock_tenant(s: Session, tenant: str) -> Tenant | None:
    """Lock and return the tenant's record; None: it runs as many jobs as it may by now."""
    row = s.scalars(select(Tenant).where(Tenant.id == tenant).with_for_update()).one_or_none()
    if row is None or row.max_running is None:
        return row
    # Count again under the lock: another worker may have claimed a job in the meantime.
    running = s.scalar(select(_running()).where(Tenant.id == tenant)) or 0
    return row if running < row.max_running else None


def positions(s: Session, rows: Sequence[Job], most_gpus: int | None) -> dict[str, QueuePosition]:
    """Return the position of each of `rows` that is queued, with two queries for all.

    `most_gpus` is the largest number of GPUs of a live worker (None: no worker lives). A job that no worker can run
    delays no other job.
    """
    queued = [row for row in rows if row.status == Status.QUEUED]
    if not queued:
        return {}
    queues = _tenant_queues(s, most_gpus)
    ranks = _ranks(s, queued, most_gpus)
    return {row.id: _position(row, ranks[row.id], queues) for row in queued if row.id in ranks}


def _running() -> ScalarSelect[int]:
    return _count(Job.status == Status.RUNNING.value)


def _spent() -> ColumnElement[bool]:
    """Return the condition that a tenant's device hours are used up."""
    hours = Tenant.device_seconds / 3600.0
    return case((Tenant.device_hours.is_(None), false()), else_=hours >= Tenant.device_hours)


def _count(*which: ColumnElement[bool]) -> ScalarSelect[int]:
    """Return a subquery that counts each tenant's jobs of some kind."""
    return select(func.count()).where(Job.tenant == Tenant.id, *which).correlate(Tenant).scalar_subquery()


def _tenant_queues(s: Session, most_gpus: int | None) -> dict[str, _TenantQueue]:
    queued = _count(Job.status == Status.QUEUED.value, Job.gpus <= (most_gpus or 0))
    each = select(Tenant.id, _running(), Tenant.served_at, Tenant.max_running, queued, _spent())
    rows = s.execute(each, execution_options=tenancy.ALL_TENANTS)
    return {
        tenant: _TenantQueue(running, served_at, max_running, waiting, bool(spent))
        for tenant, running, served_at, max_running, waiting, spent in rows
    }


def _ranks(s: Session, queued: Iterable[Job], most_gpus: int | None) -> dict[str, int]:
    """Return, for each job, how many jobs of its own tenant are claimed before it."""
    runs_here = case((Job.gpus <= (most_gpus or 0), 1), else_=0)
    order = (Job.priority.desc(), Job.created_at, Job.id)
    ahead = func.sum(runs_here).over(partition_by=Job.tenant, order_by=order, rows=(None, -1))
    own = Job.tenant.in_({row.tenant for row in queued})
    ranked = select(Job.id, func.coalesce(ahead, 0).label("ahead")).where(Job.status == Status.QUEUED.value, own)
    found = ranked.subquery()
    query = select(found.c.id, found.c.ahead).where(found.c.id.in_([row.id for row in queued]))
    return {job_id: int(count) for job_id, count in s.execute(query)}


def _position(row: Job, rank: int, queues: dict[str, _TenantQueue]) -> QueuePosition:
    own = queues[row.tenant]
    # The job is claimed when its tenant runs `running` jobs. Tenants that run fewer jobs then go first, and so do
    # those that run as many and were served longer ago.
    running, order = own.running + rank, own.order(row.tenant)
    others = sum(
        other.before(running + (other.order(tenant) < order))
        for tenant, other in queues.items()
        if tenant != row.tenant
    )
    held = own.max_running is not None and own.running >= own.max_running
    return QueuePosition(rank + others, held=held, spent=own.spent)
