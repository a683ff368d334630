"""The queue: which tenant is served next, and the position of each job.

The tenant with the fewest running jobs is next; among equals, the one served longest ago. Its jobs follow by
priority, then age. So a tenant with five thousand jobs delays another tenant by one job at most. A tenant that runs
as many jobs as it may is skipped until one of them ends.

No query here reads more rows when more jobs wait: each reads the first entries of an index and stops.
`jobs.store.positions` says how a position is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    Select,
    SQLColumnExpression,
    Subquery,
    bindparam,
    case,
    false,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from jobs import clock
from jobs.models import Job, Tenant, TenantTurn, has_status
from jobs.status import Status
from jobs.store.jobs import claimable_now

PAGE: Final = 32
"""How many tenants are read at once."""
_TRIED_AT_ONCE: Final = 8


def claim_order(row: type[Job] = Job) -> tuple[SQLColumnExpression[Any], ...]:
    """Return the order in which the jobs of one tenant are claimed, as columns."""
    return row.priority.desc(), row.created_at, row.id


def index_order(row: type[Job] = Job) -> tuple[SQLColumnExpression[Any], ...]:
    """Return the order of the index of queued jobs, for one tenant.

    A query that only counts the first entries states this order too. Without it the planner of PostgreSQL may prefer
    to read the table from its beginning, in the hope that queued jobs stand everywhere.
    """
    return row.gpus, *claim_order(row)


@dataclass(frozen=True)
class Turn:
    """A tenant with a claimable job, as it was when the order was read."""

    tenant: str
    served_at: float
    max_running: int | None


def serving_order(s: Session, gpus: int, after: int = 0) -> list[Turn]:
    """Return the tenants with a claimable job for a worker with `gpus` GPUs, in serving order.

    These are the `PAGE` tenants that follow the first `after` ones.
    """
    rows = s.execute(_serving_order(), {"gpus": gpus, "after": after})
    return [Turn(*row) for row in rows]


@cache
def _serving_order() -> Select[str, float, int | None]:
    running = running_by_tenant()
    count = func.coalesce(running.c.count, 0)
    below_limit = or_(Tenant.max_running.is_(None), count < Tenant.max_running)
    # A subquery, so that tenants are looked up in this order, and no further than the last one that is returned.
    ordered = (
        select(Tenant.id, count.label("running"), TenantTurn.served_at, Tenant.max_running)
        .join(TenantTurn, TenantTurn.tenant == Tenant.id)
        .outerjoin(running, running.c.tenant == Tenant.id)
        .where(below_limit, ~is_spent())
        .order_by(count, TenantTurn.served_at, Tenant.id)
        .subquery()
    )
    fits = (has_status(Status.QUEUED), Job.tenant == ordered.c.id, Job.gpus <= bindparam("gpus"), claimable_now())
    first_job = select(Job.id).where(*fits).order_by(*index_order()).limit(1).scalar_subquery()
    return (
        select(ordered.c.id, ordered.c.served_at, ordered.c.max_running)
        .where(first_job.is_not(None))
        .order_by(ordered.c.running, ordered.c.served_at, ordered.c.id)
        .limit(PAGE)
        .offset(bindparam("after"))
    )


def lock_next(s: Session, turns: Sequence[Turn]) -> Turn | None:
    """Lock the first of these tenants whose turn it still is, and return it; None: there is none.

    A tenant is skipped while another worker claims one of its jobs, and if one was claimed since the order was read.
    So many workers at once serve many tenants, and none of them waits for another.
    """
    for first in range(0, len(turns), _TRIED_AT_ONCE):
        some = turns[first : first + _TRIED_AT_ONCE]
        place = case({turn.tenant: number for number, turn in enumerate(some)}, value=TenantTurn.tenant)
        unserved = tuple_(TenantTurn.tenant, TenantTurn.served_at).in_(
            [(turn.tenant, turn.served_at) for turn in some]
        )
        query = select(TenantTurn.tenant).where(unserved).order_by(place).limit(1)
        tenant = s.scalar(query.with_for_update(skip_locked=True, key_share=True))
        if tenant is not None:
            return next(turn for turn in some if turn.tenant == tenant)
    return None


def may_run_more(s: Session, turn: Turn) -> bool:
    """Return whether the tenant may run one more job. If the number is limited, its record is locked first.

    Another worker may have claimed a job since the order was read, so the running jobs are counted again.
    """
    if turn.max_running is None:
        return True
    lock = select(Tenant.max_running).where(Tenant.id == turn.tenant).with_for_update(key_share=True)
    most = s.scalar(lock)
    running = select(func.count()).select_from(Job).where(has_status(Status.RUNNING), Job.tenant == turn.tenant)
    return most is None or s.execute(running).scalar_one() < most


def record_turn(s: Session, turn: Turn) -> None:
    """Record that a job of the tenant was claimed now.

    If another transaction has locked the record, nothing is written rather than waited for: it claims a job of the
    same tenant, and records this moment too.
    """
    own = select(TenantTurn.tenant).where(TenantTurn.tenant == turn.tenant)
    free = own.with_for_update(skip_locked=True, key_share=True).scalar_subquery()
    s.execute(update(TenantTurn).where(TenantTurn.tenant == free).values(served_at=clock.now()))


def running_by_tenant() -> Subquery:
    """Return the number of running jobs of each tenant that runs any, as the columns `tenant` and `count`."""
    # A running job always has an owner. Asking for it shows SQLite which index has all that the query needs.
    runs = (has_status(Status.RUNNING), Job.lease_owner.is_not(None))
    return select(Job.tenant, func.count().label("count")).where(*runs).group_by(Job.tenant).subquery()


def is_spent() -> ColumnElement[bool]:
    """Return the condition that a tenant's device hours are used up."""
    hours = Tenant.device_seconds / 3600.0
    return case((Tenant.device_hours.is_(None), false()), else_=hours >= Tenant.device_hours)
