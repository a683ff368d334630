"""Whose rows a session may touch: of one that is opened for a tenant, every statement is narrowed to that tenant.

Not each query's own business, where one would forget it: the session adds the condition to whatever it is asked to
select, change or delete, in subqueries too, and refuses to store a row of another's.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, event, select
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria
from sqlalchemy.sql.elements import ColumnElement

from jobs.models import DEFAULT_TENANT, SHARED, Act, Dataset, Job, OfJob, OfTenant, Webhook, WebhookDelivery

_TENANT: Final = "gantry_tenant"
ALL_TENANTS: Final = {"gantry_everybodys": True}
"""Execution options of a query over all tenants' rows: for figures that no tenant can be told from."""


class _TenantSession(Session):
    """A session of one tenant's."""


def open_session(connection: Connection, tenant: str | None) -> Session:
    """A session on `connection` that knows the rows of `tenant` alone; None: all rows."""
    if tenant is None:
        return Session(connection, expire_on_commit=False)
    return _TenantSession(connection, expire_on_commit=False, info={_TENANT: tenant})


def tenant_of(s: Session) -> str:
    """Whose rows `s` stores where it is not told."""
    return str(s.info.get(_TENANT, DEFAULT_TENANT))


@event.listens_for(_TenantSession, "do_orm_execute")
def _narrow(state: ORMExecuteState) -> None:
    if state.is_insert or ALL_TENANTS.keys() <= state.execution_options.keys():
        return
    tenant = state.session.info[_TENANT]
    state.statement = state.statement.options(
        with_loader_criteria(Job, Job.tenant == tenant, include_aliases=True),
        with_loader_criteria(Dataset, Dataset.tenant.in_([tenant, SHARED]), include_aliases=True),
        with_loader_criteria(Act, Act.tenant == tenant, include_aliases=True),
        with_loader_criteria(Webhook, Webhook.tenant == tenant, include_aliases=True),
        with_loader_criteria(WebhookDelivery, WebhookDelivery.tenant == tenant, include_aliases=True),
        with_loader_criteria(OfJob, lambda row: _owned(row, tenant), include_aliases=True),
    )


def _owned(row: type[OfJob], tenant: str) -> ColumnElement[bool]:
    # The table and not the class, whose own condition would be added to this one.
    owner = Job.__table__.alias("owner")
    return select(1).select_from(owner).where(owner.c.id == row.job_id, owner.c.tenant == tenant).exists()


@event.listens_for(_TenantSession, "before_flush")
def _refuse_others(s: Session, context: object, instances: object) -> None:
    tenant = s.info[_TENANT]
    for row in s.new:
        assert not isinstance(row, OfTenant) or row.tenant == tenant, (
            f"a row of {row.tenant!r}'s, not of {tenant!r}'s"
        )
