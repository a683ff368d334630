"""Tests of API keys: their format, and what the database stores."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from jobs.db import Database
from jobs.errors import KeyNotFoundError
from jobs.keys import Scope, digest_of, handle_of, new_key
from jobs.models import ApiKey
from jobs.store.callers import api_keys

READ = [Scope.JOBS_READ]


def test_a_key_has_the_format_that_scanners_know() -> None:
    keys = {new_key() for _ in range(50)}
    assert len(keys) == 50
    for key in keys:
        assert re.fullmatch(r"gan_live_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}", key)
        assert handle_of(key) == key[9:17]


@given(position=st.integers(9, 47), character=st.sampled_from("0aZ_é "))
def test_a_mistyped_key_has_no_handle(position: int, character: str) -> None:
    key = new_key()
    wrong = key[:position] + character + key[position + 1 :]
    assert wrong == key or handle_of(wrong) is None


@pytest.mark.parametrize("text", ["", "gan_live_", "x" * 10_000, "gan_live_" + "\n" * 39, "Bearer x"])
def test_other_text_has_no_handle(text: str) -> None:
    assert handle_of(text) is None


def test_the_database_stores_no_key(db: Database) -> None:
    with db.write() as s:
        made = api_keys.create(s, "acme", "theirs", READ)
    with db.read() as s:
        (row,) = s.scalars(select(ApiKey))
        kept = [str(getattr(row, column.key)) for column in ApiKey.__table__.columns]
        assert api_keys.find_valid(s, made.key) is row
    assert row.sha256 == digest_of(made.key) and row.scopes == ["jobs:read"]
    secret = made.key[17:41]
    assert not any(secret in text for text in kept)


def test_expired_revoked_and_unknown_keys_are_not_valid(db: Database) -> None:
    with db.write() as s:
        expired = api_keys.create(s, "acme", "expired", READ, expires_in_seconds=-1)
        revoked, good = (api_keys.create(s, "acme", name, READ) for name in ("revoked", "good"))
        api_keys.revoke(s, revoked.row.id)
        first = api_keys.revoke(s, revoked.row.id).revoked_at
        assert api_keys.revoke(s, revoked.row.id).revoked_at == first, "repeating it changes nothing"
    with db.read() as s:
        found = {key: api_keys.find_valid(s, key) for key in (expired.key, revoked.key, good.key, new_key(), "", "x")}
    assert [key for key, row in found.items() if row is not None] == [good.key]


def test_a_key_with_the_same_handle_but_another_secret_is_not_valid(db: Database) -> None:
    with db.write() as s:
        made = api_keys.create(s, "acme", "theirs", READ)
        made.row.handle = handle_of(other := new_key()) or ""
    with db.read() as s:
        assert api_keys.find_valid(s, other) is None


def test_a_rotated_key_overlaps_and_then_expires(db: Database) -> None:
    with db.write() as s:
        old = api_keys.create(s, "acme", "theirs", READ, expires_in_seconds=1000)
        new = api_keys.rotate(s, old.row.id, 60)
        assert (new.row.tenant, new.row.name, new.row.scopes) == ("acme", "theirs", ["jobs:read"])
        assert new.row.expires_at is not None and new.row.expires_at > new.row.created_at + 900
        assert api_keys.find_valid(s, old.key) is not None and api_keys.find_valid(s, new.key) is not None
        api_keys.rotate(s, new.row.id, 0)
        assert api_keys.find_valid(s, new.key) is None, "without an overlap it expires at once"
        with pytest.raises(KeyNotFoundError):
            api_keys.rotate(s, new.row.id, 60)


def test_only_a_valid_key_with_the_admin_scope_counts(db: Database) -> None:
    with db.write() as s:
        assert not api_keys.has_valid_admin_key(s)
        api_keys.create(s, "acme", "theirs", READ)
        assert not api_keys.has_valid_admin_key(s)
        made = api_keys.create(s, "default", "first", [Scope.ADMIN])
        assert api_keys.has_valid_admin_key(s)
        api_keys.revoke(s, made.row.id)
        assert not api_keys.has_valid_admin_key(s)
