"""A key is one transaction's at a time. On both databases."""

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
    """Takes the key, and keeps it until it is to let go; then it commits."""

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
    """For who waits: on a machine that stands still, that may be longer than a statement has."""
    database = Database(settings.database, statement_timeout=False)
    yield database
    database.dispose()


def _soon(holder: Holder) -> None:
    """Have it let go while the next one waits."""
    threading.Timer(0.4, holder.let_go.set).start()


def _begin(db: Database, fingerprint: str = "print", key: str = "k", caller: str = "me") -> IdempotencyKey | None:
    with db.write() as s:
        return idempotency.reserve(s, caller, key, fingerprint)


def test_the_second_waits_and_gets_the_firsts_answer(patient: Database, holder: Holder) -> None:
    _soon(holder)
    found = _begin(patient)
    assert found is not None and (found.status, found.headers, found.body) == (201, {"ETag": '"1"'}, b"{}")


def test_the_second_waits_and_is_refused_for_another_request(patient: Database, holder: Holder) -> None:
    _soon(holder)
    with pytest.raises(IdempotencyKeyReusedError, match="'k' belongs to another request"):
        _begin(patient, "another")


def test_another_key_and_another_callers_are_free(patient: Database, holder: Holder) -> None:
    _soon(holder)
    assert _begin(patient, key="other") is None and _begin(patient, caller="you") is None


def test_what_was_not_committed_was_not_answered(db: Database) -> None:
    with pytest.raises(RuntimeError), db.write() as s:
        idempotency.reserve(s, "me", "k", "print")
        raise RuntimeError
    with db.read() as s:
        assert idempotency.find_response(s, "me", "k", "print") is None


# On SQLite every writer waits for every other, for half a minute.
@pytest.mark.parametrize("settings", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
def test_who_waits_for_too_long_is_told_to_come_again(db: Database, holder: Holder) -> None:
    with pytest.raises(DatabaseUnavailableError), db.write() as s:
        s.execute(text("set local lock_timeout = '50ms'"))
        idempotency.reserve(s, "me", "k", "print")
