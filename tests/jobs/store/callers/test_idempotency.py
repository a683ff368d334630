"""Tests of idempotency keys: one transaction at a time holds a key."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from jobs.db import Database
from jobs.errors import DatabaseUnavailableError, IdempotencyKeyReusedError
from jobs.models import IdempotencyKey
from jobs.runtime.settings import Settings
from jobs.store.callers import idempotency


class Holder(threading.Thread):
    """A thread that reserves the key and holds it until `let_go` is set; then it commits."""

    def __init__(self, db: Database) -> None:
        super().__init__()
        self._db, self.holding, self.let_go = db, threading.Event(), threading.Event()

    def run(self) -> None:
        with self._db.write() as s:
            assert idempotency.reserve(s, "me", "k", "print") is None
            self.holding.set()
            self.let_go.wait(60)
            idempotency.store_response(s, "me", "k", 201, {"ETag": '"1"'}, b"{}")


@pytest.fixture
def holder(db: Database) -> Iterator[Holder]:
    holder = Holder(db)
    holder.start()
    try:
        assert holder.holding.wait(60)
        yield holder
    finally:
        holder.let_go.set()
        holder.join()


@pytest.fixture
def patient(settings: Settings) -> Iterator[Database]:
    """Yield a database without a statement timeout: on a busy machine the wait may be longer than that."""
    database = Database(settings.database, statement_timeout=False)
    yield database
    database.dispose()


def _commit_soon(holder: Holder) -> None:
    """Let the holder commit while the next transaction waits."""
    threading.Timer(0.4, holder.let_go.set).start()


def _reserve(db: Database, fingerprint: str = "print", key: str = "k", caller: str = "me") -> IdempotencyKey | None:
    with db.write() as s:
        return idempotency.reserve(s, caller, key, fingerprint)


def test_a_concurrent_repetition_waits_and_gets_the_same_response(patient: Database, holder: Holder) -> None:
    _commit_soon(holder)
    found = _reserve(patient)
    assert found is not None and (found.status, found.headers, found.body) == (201, {"ETag": '"1"'}, b"{}")


def test_a_concurrent_other_request_waits_and_is_refused(patient: Database, holder: Holder) -> None:
    _commit_soon(holder)
    with pytest.raises(IdempotencyKeyReusedError, match="'k' belongs to another request"):
        _reserve(patient, "another")


def test_other_keys_and_other_callers_do_not_conflict(patient: Database, holder: Holder) -> None:
    _commit_soon(holder)
    assert _reserve(patient, key="other") is None and _reserve(patient, caller="you") is None


def test_a_rolled_back_key_has_no_response(db: Database) -> None:
    with pytest.raises(RuntimeError), db.write() as s:
        idempotency.reserve(s, "me", "k", "print")
        raise RuntimeError
    with db.read() as s:
        assert idempotency.find_response(s, "me", "k", "print") is None


# Only on PostgreSQL: on SQLite every writer waits for every other one, up to half a minute.
@pytest.mark.parametrize("settings", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
def test_a_request_that_waits_too_long_is_told_to_try_again(db: Database, holder: Holder) -> None:
    with pytest.raises(DatabaseUnavailableError), db.write() as s:
        s.execute(text("set local lock_timeout = '50ms'"))
        idempotency.reserve(s, "me", "k", "print")
