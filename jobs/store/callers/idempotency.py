"""Idempotency keys: the response to a creating request is stored, so that a repetition creates nothing twice."""

from __future__ import annotations

from typing import Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from jobs import clock
from jobs.errors import IdempotencyKeyReusedError
from jobs.models import IdempotencyKey

KEPT_SECONDS: Final = 24 * 3600


def reserve(s: Session, caller: str, key: str, fingerprint: str) -> IdempotencyKey | None:
    """Reserve the key for this transaction and return None, or return the response that the same request got before.

    Another transaction with the same key waits until this one has ended. After None, the caller carries out the
    request and stores its response with `store_response`. Raises `IdempotencyKeyReusedError` if the key belongs to
    another request.
    """
    s.execute(delete(IdempotencyKey).where(*_is(caller, key), _too_old()))
    return find_response(s, caller, key, fingerprint) or _insert(s, caller, key, fingerprint)


def find_response(s: Session, caller: str, key: str, fingerprint: str) -> IdempotencyKey | None:
    """Return the response that the same request got before; None if there is none.

    Raises `IdempotencyKeyReusedError` if the key belongs to another request.
    """
    found = s.scalars(select(IdempotencyKey).where(*_is(caller, key), ~_too_old())).one_or_none()
    return None if found is None else _require_same(found, fingerprint)


def is_known(s: Session, caller: str, key: str) -> bool:
    """Return whether a request with this key was stored in the last day."""
    return s.scalar(select(IdempotencyKey.key).where(*_is(caller, key), ~_too_old())) is not None


def store_response(s: Session, caller: str, key: str, status: int, headers: dict[str, str], body: bytes) -> None:
    """Store the response to the request, in the transaction that created what it asked for."""
    s.execute(update(IdempotencyKey).where(*_is(caller, key)).values(status=status, headers=headers, body=body))


def delete_old(s: Session) -> None:
    """Delete the keys that are older than a day."""
    s.execute(delete(IdempotencyKey).where(_too_old()))


def _insert(s: Session, caller: str, key: str, fingerprint: str) -> IdempotencyKey | None:
    """Insert the key and return None, or return what another transaction has stored under it in the meantime."""
    values = {"caller": caller, "key": key, "fingerprint": fingerprint, "created_at": clock.read(s)}
    try:
        with s.begin_nested():
            s.execute(insert(IdempotencyKey).values(**values, status=0, headers={}, body=b""))
    except IntegrityError:
        return _require_same(s.get_one(IdempotencyKey, (caller, key)), fingerprint)
    return None


def _require_same(found: IdempotencyKey, fingerprint: str) -> IdempotencyKey:
    if found.fingerprint != fingerprint:
        raise IdempotencyKeyReusedError(found.key)
    return found


def _is(caller: str, key: str) -> tuple[ColumnElement[bool], ...]:
    return IdempotencyKey.caller == caller, IdempotencyKey.key == key


def _too_old() -> ColumnElement[bool]:
    # The subquery reads the clock once per statement. PostgreSQL uses no index if it must read the clock at every
    # row.
    return IdempotencyKey.created_at < select(clock.now()).scalar_subquery() - KEPT_SECONDS
