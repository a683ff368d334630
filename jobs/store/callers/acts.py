"""Who did what: a transaction is signed by whoever asked for it, and what it does is noted under that name."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from jobs import clock, tenancy
from jobs.errors import BadCursorError
from jobs.models import Act
from jobs.store.pages import Page, cut, decode

LOCAL: Final = "local"
"""Who acts where nobody is asked for a key."""

_ACTOR: Final = "gantry_actor"
_REQUEST: Final = "gantry_request"
_LIST: Final = "acts"


def set_actor(s: Session, actor: str, request_id: str | None = None) -> None:
    """Say who has asked for what this transaction does; one that nobody signs is the service's own."""
    s.info[_ACTOR], s.info[_REQUEST] = actor, request_id


def actor(s: Session) -> str | None:
    """Who has signed; None: the service itself is at work."""
    found: str | None = s.info.get(_ACTOR)
    return found


def record(s: Session, action: str, subject: str, *, tenant: str | None = None, **detail: Any) -> None:
    """Note what is being done, if somebody has asked for it. `tenant`: whose the subject is; None: the session's."""
    if (who := actor(s)) is None:
        return
    s.add(
        Act(
            tenant=tenant or tenancy.tenant_of(s),
            actor=who,
            action=action,
            subject=subject,
            detail=detail or None,
            request_id=s.info[_REQUEST],
            at=clock.read(s),
        )
    )
    s.flush()


def last_actor(s: Session, subject: str, action: str) -> str | None:
    """Who did that to it last."""
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
    """Newest first, those that pass every filter. Raises `BadCursorError`."""
    asked = {Act.subject: subject, Act.actor: actor, Act.tenant: tenant}
    fits = [column == value for column, value in asked.items() if value is not None]
    if cursor is not None:
        fits.append(Act.seq < _seq(decode(cursor, _LIST)))
    rows = s.scalars(select(Act).where(*fits).order_by(Act.seq.desc()).limit(limit + 1))
    return cut(list(rows), limit, _LIST, lambda row: str(row.seq))


def _seq(key: str) -> int:
    if not (key.isdecimal() and int(key) < 2**63):
        raise BadCursorError
    return int(key)
