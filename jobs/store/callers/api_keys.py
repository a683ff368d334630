"""API keys: created, looked up, rotated, revoked. The key itself is shown only once, to the caller who created it."""

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

_NO_DIGEST: Final = digest_of("")
_USE_RECORDED_EVERY_SECONDS: Final = 60


@dataclass(frozen=True)
class NewApiKey:
    """The record of a new key, and the key itself."""

    row: ApiKey
    key: str


def create(
    s: Session, tenant: str, name: str, scopes: Collection[Scope], *, expires_in_seconds: float | None = None
) -> NewApiKey:
    """Create a key for `tenant`, and the tenant if it does not exist yet."""
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
    """Create a key with the same rights as the old one, which then expires in `overlap_seconds` at the latest.

    Raises `KeyNotFoundError`, also if the old key has expired or was revoked.
    """
    old = s.scalars(select(ApiKey).where(ApiKey.id == key_id, *_valid()).with_for_update()).one_or_none()
    if old is None:
        raise KeyNotFoundError(key_id)
    moment = clock.read(s)
    lifetime = None if old.expires_at is None else old.expires_at - old.created_at
    made = create(s, old.tenant, old.name, [Scope(word) for word in old.scopes], expires_in_seconds=lifetime)
    old.expires_at = min(moment + overlap_seconds, old.expires_at or moment + overlap_seconds)
    s.flush()
    acts.record(s, "key.rotate", old.id, tenant=old.tenant, new_id=made.row.id)
    return made


def revoke(s: Session, key_id: str) -> ApiKey:
    """Revoke the key for good. Repeating it changes nothing. Raises `KeyNotFoundError`."""
    row = s.get(ApiKey, key_id) if looks_like("key", key_id) else None
    if row is None:
        raise KeyNotFoundError(key_id)
    if row.revoked_at is None:
        row.revoked_at = clock.read(s)
        s.flush()
        acts.record(s, "key.revoke", row.id, tenant=row.tenant)
    return row


def find_valid(s: Session, key: str) -> ApiKey | None:
    """Return the record of a valid key; None if the key is unknown, revoked or expired."""
    handle = handle_of(key) or ""
    row = s.scalars(select(ApiKey).where(ApiKey.handle == handle, *_valid())).one_or_none()
    # Compare also if no key was found, so that the time of the response reveals nothing.
    same = hmac.compare_digest(row.sha256 if row is not None else _NO_DIGEST, digest_of(key))
    return row if same else None


def is_valid(s: Session, key_id: str) -> bool:
    """Return whether a key that was found valid is still neither revoked nor expired."""
    return s.scalar(select(ApiKey.id).where(ApiKey.id == key_id, *_valid())) is not None


def is_last_use_stale(s: Session, row: ApiKey) -> bool:
    """Return whether the last recorded use is over a minute old. More exact times would cost many writes."""
    return row.last_used_at is None or row.last_used_at < clock.read(s) - _USE_RECORDED_EVERY_SECONDS


def record_use(s: Session, key_id: str) -> None:
    """Record that the key was used now."""
    s.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=clock.now()))


def has_valid_admin_key(s: Session) -> bool:
    """Return whether a valid key with the admin scope exists. No other key can create keys over the API."""
    rows = s.scalars(select(ApiKey.scopes).where(*_valid()))
    return any(Scope.ADMIN.value in scopes for scopes in rows)


def page(s: Session, *, limit: int, cursor: str | None = None) -> Page[ApiKey]:
    """Return a page of all keys, newest first, expired and revoked ones included."""
    query = select(ApiKey).order_by(ApiKey.id.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(ApiKey.id < decode(cursor, "keys"))
    return cut(list(s.scalars(query)), limit, "keys", lambda row: row.id)


def _valid() -> tuple[ColumnElement[bool], ...]:
    unexpired = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > clock.now())
    return ApiKey.revoked_at.is_(None), unexpired
