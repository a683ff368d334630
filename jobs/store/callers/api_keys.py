"""Keys to the API: made, looked up, replaced, revoked. The key itself is told once, to whoever had it made."""

from __future__ import annotations

import hmac
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from jobs import clock
from jobs.errors import KeyNotFoundError
from jobs.ids import looks_like, new_id
from jobs.keys import Scope, digest_of, handle_of, new_key
from jobs.models import ApiKey
from jobs.store.callers import acts, tenants
from jobs.store.pages import Page, cut, decode

_NOBODYS: Final = digest_of("")
_NOTED_EVERY_SECONDS: Final = 60


@dataclass(frozen=True)
class NewApiKey:
    """A key's record, and the key."""

    row: ApiKey
    key: str


def create(
    s: Session, tenant: str, name: str, scopes: Collection[Scope], *, expires_in_seconds: float | None = None
) -> NewApiKey:
    """A new key of `tenant`'s, who is on record from then on."""
    tenants.get_or_create(s, tenant)
    key, moment = new_key(), clock.read(s)
    handle = handle_of(key)
    assert handle is not None
    row = ApiKey(
        id=new_id("key"),
        tenant=tenant,
        name=name,
        handle=handle,
        sha256=digest_of(key),
        scopes=[scope.value for scope in Scope if scope in scopes],
        created_at=moment,
        expires_at=None if expires_in_seconds is None else moment + expires_in_seconds,
    )
    s.add(row)
    s.flush()
    acts.record(s, "key.create", row.id, tenant=tenant, name=name, scopes=row.scopes)
    return NewApiKey(row, key)


def rotate(s: Session, key_id: str, overlap_seconds: float) -> NewApiKey:
    """A key that can what the old one can; that one ends in `overlap_seconds`, if it does not end sooner.

    Raises `KeyNotFoundError`, also of one that has ended.
    """
    old = s.scalars(select(ApiKey).where(ApiKey.id == key_id, *_holds()).with_for_update()).one_or_none()
    if old is None:
        raise KeyNotFoundError(key_id)
    moment = clock.read(s)
    lasts = None if old.expires_at is None else old.expires_at - old.created_at
    made = create(s, old.tenant, old.name, [Scope(word) for word in old.scopes], expires_in_seconds=lasts)
    old.expires_at = min(moment + overlap_seconds, old.expires_at or moment + overlap_seconds)
    s.flush()
    acts.record(s, "key.rotate", old.id, tenant=old.tenant, new_id=made.row.id)
    return made


def revoke(s: Session, key_id: str) -> ApiKey:
    """It opens nothing any more, for good. Repeating it changes nothing. Raises `KeyNotFoundError`."""
    row = s.get(ApiKey, key_id) if looks_like("key", key_id) else None
    if row is None:
        raise KeyNotFoundError(key_id)
    if row.revoked_at is None:
        row.revoked_at = clock.read(s)
        s.flush()
        acts.record(s, "key.revoke", row.id, tenant=row.tenant)
    return row


def find_valid(s: Session, key: str) -> ApiKey | None:
    """The record of a key that holds; None of one that is unknown, revoked or over: nobody is told which."""
    handle = handle_of(key) or ""
    row = s.scalars(select(ApiKey).where(ApiKey.handle == handle, *_holds())).one_or_none()
    # Compared whoever it is, so that time tells nothing.
    same = hmac.compare_digest(row.sha256 if row is not None else _NOBODYS, digest_of(key))
    return row if same else None


def is_valid(s: Session, key_id: str) -> bool:
    """Whether a key that was found to hold was not revoked since, and is not over."""
    return s.scalar(select(ApiKey.id).where(ApiKey.id == key_id, *_holds())) is not None


def is_last_use_stale(s: Session, row: ApiKey) -> bool:
    """Whether its use was not noted for a minute: that is exact enough, and is not written often."""
    return row.last_used_at is None or row.last_used_at < clock.read(s) - _NOTED_EVERY_SECONDS


def record_use(s: Session, key_id: str) -> None:
    """Note that it is in use."""
    s.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=clock.now()))


def has_valid_admin_key(s: Session) -> bool:
    """Whether there is an administrator's key that holds: else nobody could make one over the API."""
    rows = s.scalars(select(ApiKey.scopes).where(*_holds()))
    return any(Scope.ADMIN.value in scopes for scopes in rows)


def page(s: Session, *, limit: int, cursor: str | None = None) -> Page[ApiKey]:
    """Newest first, those that are over too."""
    query = select(ApiKey).order_by(ApiKey.id.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(ApiKey.id < decode(cursor, "keys"))
    return cut(list(s.scalars(query)), limit, "keys", lambda row: row.id)


def _holds() -> tuple[ColumnElement[bool], ...]:
    lasts = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > clock.now())
    return ApiKey.revoked_at.is_(None), lasts
