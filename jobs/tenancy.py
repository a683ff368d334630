"""Which rows a session may touch: a session of a tenant is limited to that tenant's rows.

The session itself adds this condition to every select, update and delete, in subqueries too, and refuses to store a
row of another tenant. If each query added it, one of them would forget it.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, event, select
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria
from sqlalchemy.sql.elements import ColumnElement

from jobs.models import DEFAULT_TENANT, SHARED, Act, Dataset, Job, OfJob, OfTenant, Webhook, WebhookDelivery

_TENANT: Final = "gantry_tenant"
ALL_TENANTS: Final = {"gantry_all_tenants": True}
"""Execution options of a query over the rows of all tenants: for numbers that reveal nothing about one tenant."""


class _TenantSession(Session):
    """A session that is limited to one tenant."""


def open_session(connection: Connection, tenant: str | None) -> Session:
    """Return a session on `connection` that sees only the rows of `tenant`; None: all rows."""
    if tenant is None:
        return Session(connection, expire_on_commit=False)
    return _TenantSession(connection, expire_on_commit=False, info={_TENANT: tenant})


def tenant_of(s: Session) -> str:
    """Return the tenant whose rows `s` stores; the default tenant if the session has none."""
    return str(s.info.get(_TENANT, DEFAULT_TENANT))


@event.listens_for(_TenantSession, "do_orm_execute")
def _limit_to_tenant(state: ORMExecuteState) -> None:
    if state.is_insert or ALL_TENANTS.keys() <= state.execution_options.keys():
        return
    tenant = state.session.info[_TENANT]
    state.statement = state.statement.options(
        with_loader_criteria(Job, Job.tenant == tenant, include_aliases=True),
        with_loader_criteria(Dataset, Dataset.tenant.in_([tenant, SHARED]), include_aliases=True),
        with_loader_criteria(Act, Act.tenant == tenant, include_aliases=True),
        with_loader_criteria(Webhook, Webhook.tenant == tenant, include_aliases=True),
        with_loader_criteria(WebhookDelivery, WebhookDelivery.tenant == tenant, include_aliases=True),
        with_loader_criteria(OfJob, lambda row: _belongs_to(row, tenant), include_aliases=True),
    )


def _belongs_to(row: type[OfJob], tenant: str) -> ColumnElement[bool]:
    # Use the table, not the class: the session would add the class's own condition to this one.
    owner = Job.__table__.alias("owner")
    return select(1).select_from(owner).where(owner.c.id == row.job_id, owner.c.tenant == tenant).exists()


@event.listens_for(_TenantSession, "before_flush")
def _refuse_other_tenants(s: Session, context: object, instances: object) -> None:
    tenant = s.info[_TENANT]
    for row in s.new:
        assert not isinstance(row, OfTenant) or row.tenant == tenant, (
            f"the row belongs to {row.tenant!r}, but the session to {tenant!r}"
        )
