"""The answer to a creating request, kept with what it created: repeated, the request makes no double."""

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
    """Take the key for this transaction; or the answer that the same request was given before.

    Whoever comes with the same key meanwhile waits until this transaction has ended. None: go on, then `keep` the
    answer. Raises `IdempotencyKeyReusedError` where the key stands for another request.
    """
    s.execute(delete(IdempotencyKey).where(*_is(caller, key), _too_old()))
    return find_response(s, caller, key, fingerprint) or _take(s, caller, key, fingerprint)


def find_response(s: Session, caller: str, key: str, fingerprint: str) -> IdempotencyKey | None:
    """The answer that the same request was given before; None: none was. Raises `IdempotencyKeyReusedError`."""
    found = s.scalars(select(IdempotencyKey).where(*_is(caller, key), ~_too_old())).one_or_none()
    return None if found is None else _same(found, fingerprint)


def store_response(s: Session, caller: str, key: str, status: int, headers: dict[str, str], body: bytes) -> None:
    """What the request was answered with, in the transaction that created what it asked for."""
    s.execute(update(IdempotencyKey).where(*_is(caller, key)).values(status=status, headers=headers, body=body))


def delete_old(s: Session) -> None:
    """Drop what is older than a day."""
    s.execute(delete(IdempotencyKey).where(_too_old()))


def _take(s: Session, caller: str, key: str, fingerprint: str) -> IdempotencyKey | None:
    """None: it is ours. Else what another transaction has stored under it meanwhile."""
    values = {"caller": caller, "key": key, "fingerprint": fingerprint, "created_at": clock.read(s)}
    try:
        with s.begin_nested():
            s.execute(insert(IdempotencyKey).values(**values, status=0, headers={}, body=b""))
    except IntegrityError:
        return _same(s.get_one(IdempotencyKey, (caller, key)), fingerprint)
    return None


def _same(found: IdempotencyKey, fingerprint: str) -> IdempotencyKey:
    if found.fingerprint != fingerprint:
        raise IdempotencyKeyReusedError(found.key)
    return found


def _is(caller: str, key: str) -> tuple[ColumnElement[bool], ...]:
    return IdempotencyKey.caller == caller, IdempotencyKey.key == key


def _too_old() -> ColumnElement[bool]:
    # Asked once a statement: PostgreSQL goes by no index where the clock is to be asked at every row.
    return IdempotencyKey.created_at < select(clock.now()).scalar_subquery() - KEPT_SECONDS
