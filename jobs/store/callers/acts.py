"""The audit log: a transaction carries the caller who requested it, and its acts are recorded under that name."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from jobs import clock, tenancy
from jobs.errors import BadCursorError
from jobs.models import Act
from jobs.store.pages import Page, cut, decode

LOCAL: Final = "local"
"""The actor where the service requires no key."""

_ACTOR: Final = "gantry_actor"
_REQUEST: Final = "gantry_request"
_LIST: Final = "acts"


def set_actor(s: Session, actor: str, request_id: str | None = None) -> None:
    """Set the caller who requested this transaction. Without one, the service itself acts."""
    s.info[_ACTOR], s.info[_REQUEST] = actor, request_id


def actor(s: Session) -> str | None:
    """Return the caller who requested this transaction; None: the service itself acts."""
    found: str | None = s.info.get(_ACTOR)
    return found


def record(s: Session, action: str, subject: str, *, tenant: str | None = None, **detail: Any) -> None:
    """Record an act if a caller requested it. `tenant` is the owner of the subject; None: the session's tenant."""
    if (caller := actor(s)) is None:
        return
    s.add(
        Act(
            tenant=tenant or tenancy.tenant_of(s),
            actor=caller,
            action=action,
            subject=subject,
            detail=detail or None,
            request_id=s.info[_REQUEST],
            at=clock.read(s),
        )
    )
    s.flush()


def last_actor(s: Session, subject: str, action: str) -> str | None:
    """Return the caller who last did this action to the subject; None if nobody did."""
    query = select(Act.actor).where(Act.subject == subject, Act.action == action)
    return s.scalar(query.order_by(Act.seq.desc()).limit(1))


def page(
    s: Session,
    *,
    limit: int,
    cursor: str | None = None,
    subject: str | None = None,
    actor: str | None = None,
    tenant: str | None = None,
) -> Page[Act]:
    """Return a page of the acts that match every filter, newest first. Raises `BadCursorError`."""
    filters = {Act.subject: subject, Act.actor: actor, Act.tenant: tenant}
    conditions = [column == value for column, value in filters.items() if value is not None]
    if cursor is not None:
        conditions.append(Act.seq < _seq(decode(cursor, _LIST)))
    rows = s.scalars(select(Act).where(*conditions).order_by(Act.seq.desc()).limit(limit + 1))
    return cut(list(rows), limit, _LIST, lambda row: str(row.seq))


def _seq(key: str) -> int:
    if not (key.isdecimal() and int(key) < 2**63):
        raise BadCursorError
    return int(key)
