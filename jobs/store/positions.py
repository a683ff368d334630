"""The position of each queued job: how many jobs would be claimed before it, if no job ended in the meantime.

The claims are played through: tenant after tenant in serving order, each with its next job. Only the first thousand
matter, because a larger number is reported as "more than 1,000". So the cost depends on the number of tenants and
not on the number of queued jobs.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from sqlalchemy import BindParameter, ScalarSelect, Select, and_, bindparam, func, literal_column, or_, select, tuple_
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.elements import ColumnElement

from jobs import tenancy
from jobs.models import Job, Tenant, TenantTurn, has_status
from jobs.status import Status
from jobs.store import queue

MOST_COUNTED: Final = 1000
"""A larger number of jobs ahead is not counted exactly."""
_LOOKED_AT_FIRST: Final = 2
_DEEPER: Final = 8
_ONE: Final[ColumnElement[int]] = literal_column("1")


@dataclass(frozen=True)
class QueuePosition:
    """The position of a queued job: how many jobs would be claimed before it."""

    ahead: int
    """From 0 to `MOST_COUNTED`."""
    at_least: bool = False
    """Whether there are more than that."""
    held: bool = False
    """The tenant runs as many jobs as it may at the same time."""
    spent: bool = False
    """The tenant's device hours are used up."""


class _TenantQueue(NamedTuple):
    """One tenant's part of the queue."""

    tenant: str
    running: int
    served_at: float
    max_running: int | None
    spent: bool
    waiting: int
    """How many of its jobs wait for a worker that lives, as far as that is known."""
    looked_at: int
    """If `waiting` is as large as this, there may be more."""

    @property
    def room(self) -> int:
        """How many of the waiting jobs may run beside those that run."""
        if self.spent:
            return 0
        if self.max_running is None:
            return self.waiting
        return max(0, min(self.waiting, self.max_running - self.running))

    @property
    def held(self) -> bool:
        """Whether the tenant runs as many jobs as it may."""
        return self.max_running is not None and self.running >= self.max_running

    def may_have_more(self, started: int) -> bool:
        """Return whether a job that was not looked at could start after the first `started` ones."""
        below_limit = self.max_running is None or self.running + started < self.max_running
        is_cut = self.looked_at <= self.waiting and self.looked_at <= MOST_COUNTED
        return is_cut and started == self.waiting and below_limit and not self.spent

    def with_at_least(self, waiting: int) -> _TenantQueue:
        """Return the same queue, of which it is known that so many jobs wait."""
        return self._replace(waiting=max(waiting, self.waiting))


def find(s: Session, rows: Sequence[Job], most_gpus: int | None) -> dict[str, QueuePosition]:
    """Return the position of each of `rows` that is queued.

    `most_gpus` is the largest number of GPUs of a live worker (None: no worker lives). A job that no worker can run
    delays no other job.
    """
    queued = [row for row in rows if row.status == Status.QUEUED]
    if not queued:
        return {}
    gpus = most_gpus or 0
    ranks = _ranks(s, queued, gpus)
    tenant_of = {row.id: row.tenant for row in queued if row.id in ranks}
    near = [(tenant_of[job_id], rank) for job_id, rank in ranks.items() if rank <= MOST_COUNTED]
    queues = _read(s, gpus, set(tenant_of.values()), with_others=bool(near))
    ahead = _ahead(s, gpus, queues, near)
    found = {}
    for job_id, rank in ranks.items():
        own = queues[tenant_of[job_id]]
        count = ahead.get((own.tenant, rank), MOST_COUNTED + 1)
        most = min(count, MOST_COUNTED)
        found[job_id] = QueuePosition(most, at_least=count > most, held=own.held, spent=own.spent)
    return found


_Place = tuple[str, int]
"""A tenant, and how many of its own jobs are claimed before the job in question."""


def _ahead(s: Session, gpus: int, queues: dict[str, _TenantQueue], wanted: Collection[_Place]) -> dict[_Place, int]:
    """Return the number of jobs ahead of each of the wanted places where it is at most `MOST_COUNTED`."""
    last: dict[str, int] = {}
    for tenant, rank in wanted:
        last[tenant] = max(rank, last.get(tenant, 0))
    while True:
        queues.update({tenant: queues[tenant].with_at_least(rank) for tenant, rank in last.items()})
        found, short = _play(queues, wanted, last)
        if not short:
            return found
        # These tenants have more jobs than were looked at, and their turn comes often enough for it to matter.
        deeper = min(MOST_COUNTED + 1, _DEEPER * max(queues[tenant].looked_at for tenant in short))
        queues.update(_read(s, gpus, short, looked_at=deeper))


def _play(
    queues: Mapping[str, _TenantQueue], wanted: Collection[_Place], last: Mapping[str, int]
) -> tuple[dict[_Place, int], set[str]]:
    """Play the next claims through, until every wanted place is known or too many jobs are ahead.

    `last` is the last wanted place of each tenant that has one. Return what is known, and the tenants whose queue
    turned out longer than it was looked at.
    """
    open_places = set(wanted)
    # Equal to the order of claims: a tenant that was served in this play was served later than all others.
    turns = [(q.running, 0, q.served_at, q.tenant, 0) for q in queues.values()]
    heapq.heapify(turns)
    found: dict[_Place, int] = {}
    short: set[str] = set()
    claims = step = 0
    while turns and open_places and claims <= MOST_COUNTED:
        running, _, _, tenant, rank = heapq.heappop(turns)
        own = queues[tenant]
        if (tenant, rank) in open_places:
            # Jobs of a tenant beyond its limits are not claimed, but they are ahead of its later jobs.
            found[tenant, rank] = claims + max(0, rank - own.room)
            open_places.discard((tenant, rank))
        if not open_places:
            break
        if rank < own.room:
            claims += 1
        elif own.may_have_more(rank):
            short.add(tenant)
        if rank < max(own.room, last.get(tenant, 0)):
            step += 1
            heapq.heappush(turns, (running + 1, 1, float(step), tenant, rank + 1))
    return {place: count for place, count in found.items() if count <= MOST_COUNTED}, short


def _ranks(s: Session, queued: Sequence[Job], gpus: int) -> dict[str, int]:
    """Return, for each job, how many jobs of its own tenant are claimed before it; at most `MOST_COUNTED` + 1.

    If one job of a tenant has so many before it, its later ones have too, and are not counted.
    """
    in_order = sorted(queued, key=_key)
    first = {row.tenant: row for row in reversed(in_order)}
    ranks = _count_before(s, [row.id for row in first.values()], gpus)
    rest = [row for row in in_order if row is not first[row.tenant]]
    ahead = {
        tenant: _first_keys(s, tenant, gpus)
        for tenant in {row.tenant for row in rest}
        if ranks.get(first[tenant].id, 0) <= MOST_COUNTED
    }
    for row in rest:
        keys = ahead.get(row.tenant)
        ranks[row.id] = MOST_COUNTED + 1 if keys is None else bisect_left(keys, _key(row))
    return ranks


_Key = tuple[int, float, str]


def _key(row: Job) -> _Key:
    """Return what the jobs of one tenant are sorted by."""
    return -row.priority, row.created_at, row.id


def _first_keys(s: Session, tenant: str, gpus: int) -> list[_Key]:
    """Return the sort keys of the tenant's next jobs, in order; one more than are counted."""
    keys: list[_Key] = []
    for number in range(gpus + 1):
        of_kind = (has_status(Status.QUEUED), Job.tenant == tenant, Job.gpus == number)
        query = select(Job.priority, Job.created_at, Job.id).where(*of_kind).order_by(*queue.claim_order())
        rows = s.execute(query.limit(MOST_COUNTED + 1))
        keys += [(-priority, created_at, job_id) for priority, created_at, job_id in rows]
    return sorted(keys)[: MOST_COUNTED + 1]


def _count_before(s: Session, job_ids: Collection[str], gpus: int) -> dict[str, int]:
    """Return, for each job that is still queued, how many jobs of its own tenant are claimed before it."""
    if not job_ids:
        return {}
    rows = s.execute(_counts_before(gpus), {"ids": list(job_ids)})
    return {job_id: min(count, MOST_COUNTED + 1) for job_id, status, count in rows if status == Status.QUEUED}


@cache
def _counts_before(gpus: int) -> Select[str, str, int]:
    other = aliased(Job)
    more_urgent = other.priority > Job.priority
    older = tuple_(other.created_at, other.id) < tuple_(Job.created_at, Job.id)
    equally_urgent = and_(other.priority == Job.priority, older)
    # Each is one stretch of the index, so that nothing beyond it is read.
    counts = [
        _at_most(MOST_COUNTED + 1, other, other.tenant == Job.tenant, other.gpus == number, which)
        for number in range(gpus + 1)
        for which in (more_urgent, equally_urgent)
    ]
    # The caller looks at the status: a condition here would let PostgreSQL read a whole index of queued jobs.
    wanted = Job.id.in_(bindparam("ids", expanding=True))
    return select(Job.id, Job.status, sum(counts[1:], start=counts[0])).where(wanted)


def _at_most(most: int | BindParameter[int], row: type[Job], *which: ColumnElement[bool]) -> ScalarSelect[int]:
    """Return a subquery that counts queued jobs of some kind, and stops at `most`."""
    first = select(_ONE).where(has_status(Status.QUEUED, row), *which).order_by(*queue.index_order(row)).limit(most)
    counted = first.correlate(Job.__table__, Tenant.__table__).subquery()
    return select(func.count()).select_from(counted).scalar_subquery()


def _read(
    s: Session, gpus: int, tenants: Collection[str], *, with_others: bool = False, looked_at: int = _LOOKED_AT_FIRST
) -> dict[str, _TenantQueue]:
    """Return the queues of these tenants; `with_others`: and of all others whose jobs could be claimed."""
    parameters = {"tenants": list(tenants), "gpus": gpus, "looked_at": looked_at}
    rows = s.execute(_queues(with_others), parameters, execution_options=tenancy.ALL_TENANTS)
    found: Iterable[_TenantQueue] = (_TenantQueue(*row, looked_at) for row in rows)
    return {each.tenant: each for each in found if each.waiting or each.tenant in tenants}


@cache
def _queues(with_others: bool) -> Select[str, int, float, int | None, bool, int]:
    running = queue.running_by_tenant()
    count = func.coalesce(running.c.count, 0)
    other = aliased(Job)
    waiting = _at_most(bindparam("looked_at"), other, other.tenant == Tenant.id, other.gpus <= bindparam("gpus"))
    columns = (Tenant.id, count, TenantTurn.served_at, Tenant.max_running, queue.is_spent(), waiting)
    which: ColumnElement[bool] = Tenant.id.in_(bindparam("tenants", expanding=True))
    if with_others:
        may_claim = and_(or_(Tenant.max_running.is_(None), count < Tenant.max_running), ~queue.is_spent())
        which = or_(which, may_claim)
    query = select(*columns).join(TenantTurn, TenantTurn.tenant == Tenant.id)
    return query.outerjoin(running, running.c.tenant == Tenant.id).where(which)
