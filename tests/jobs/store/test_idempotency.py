"""A key is one transaction's at a time. On both databases."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import text

from jobs.db import Database
from jobs.errors import DatabaseUnavailable, IdempotencyKeyReused
from jobs.models import IdempotencyKey
from jobs.store import idempotency


class Holder(threading.Thread):
    """Takes the key, and keeps it for a while before it commits."""

    def __init__(self, db: Database) -> None:
        super().__init__()
        self._db, self.holding = db, threading.Event()

    def run(self) -> None:
        with self._db.write() as s:
            assert idempotency.begin(s, "me", "k", "print") is None
            self.holding.set()
            time.sleep(0.4)
            idempotency.keep(s, "me", "k", 201, {"ETag": '"1"'}, b"{}")


@pytest.fixture
def holder(db: Database) -> Holder:
    holder = Holder(db)
    holder.start()
    assert holder.holding.wait(10)
    return holder


def _begin(db: Database, fingerprint: str = "print", key: str = "k", caller: str = "me") -> IdempotencyKey | None:
    with db.write() as s:
        return idempotency.begin(s, caller, key, fingerprint)


def test_the_second_waits_and_gets_the_firsts_answer(db: Database, holder: Holder) -> None:
    found = _begin(db)
    assert found is not None and (found.status, found.headers, found.body) == (201, {"ETag": '"1"'}, b"{}")
    holder.join()


def test_the_second_waits_and_is_refused_for_another_request(db: Database, holder: Holder) -> None:
    with pytest.raises(IdempotencyKeyReused, match="'k' stands for another request"):
        _begin(db, "another")
    holder.join()


def test_another_key_and_another_callers_are_free(db: Database, holder: Holder) -> None:
    assert _begin(db, key="other") is None and _begin(db, caller="you") is None
    holder.join()


def test_what_was_not_committed_was_not_answered(db: Database) -> None:
    with pytest.raises(RuntimeError), db.write() as s:
        idempotency.begin(s, "me", "k", "print")
        raise RuntimeError
    with db.read() as s:
        assert idempotency.answer(s, "me", "k", "print") is None


# On SQLite every writer waits for every other, for half a minute.
@pytest.mark.parametrize("settings", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
def test_who_waits_for_too_long_is_told_to_come_again(db: Database, holder: Holder) -> None:
    with pytest.raises(DatabaseUnavailable), db.write() as s:
        s.execute(text("set local lock_timeout = '50ms'"))
        idempotency.begin(s, "me", "k", "print")
    holder.join()
