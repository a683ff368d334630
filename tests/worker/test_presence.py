"""The registration and heartbeats of a worker, repeated after errors of the database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from gan.spec import installed
from jobs.db import Database
from jobs.models import Worker
from jobs.runtime.settings import Settings
from jobs.store import datasets, workers
from tests.worker.helpers import until
from worker.presence import Presence

REFUSE = (
    "CREATE TRIGGER refuse BEFORE INSERT ON workers BEGIN SELECT RAISE(ABORT, 'refused by the test'); END",
    "DROP TRIGGER refuse",
)


def _fail_on_drain() -> None:
    raise AssertionError("no drain was requested")


@pytest.fixture
def presence(sqlite_settings: Settings) -> Iterator[Presence]:
    """Yield the presence thread of a worker, not started yet."""
    cpu = {"index": 0, "name": "cpu", "memory_bytes": 1}
    thread = Presence(sqlite_settings, "wrk_test", [cpu], 0, on_drain=_fail_on_drain)
    yield thread
    thread.leave()


def registered(db: Database) -> list[Worker]:
    with db.read() as s:
        return workers.page(s, limit=10).data


def run_sql(db: Database, statement: str) -> None:
    with db.write() as s:
        s.execute(text(statement))


def test_a_worker_is_registered_until_it_leaves(sqlite_settings: Settings, sqlite_db: Database) -> None:
    thread = Presence(sqlite_settings, "wrk_test", [], 1, on_drain=_fail_on_drain)
    thread.start()
    until(lambda: [row.id for row in registered(sqlite_db)] == ["wrk_test"])
    thread.leave()
    assert registered(sqlite_db) == []


@pytest.mark.parametrize(
    ("away", "back"),
    [("ALTER TABLE workers RENAME TO hidden", "ALTER TABLE hidden RENAME TO workers"), REFUSE],
    ids=["no tables yet", "an unexpected error"],
)
def test_a_registration_is_repeated_after_an_error(
    sqlite_db: Database, presence: Presence, away: str, back: str
) -> None:
    run_sql(sqlite_db, away)
    presence.start()
    # Long enough for the first registration. On a slower machine the test would pass without testing anything.
    time.sleep(1.0)
    run_sql(sqlite_db, back)
    until(lambda: len(registered(sqlite_db)) == 1)


def test_a_worker_whose_row_is_missing_registers_again_with_its_state(
    sqlite_db: Database, presence: Presence
) -> None:
    presence.start()
    until(lambda: len(registered(sqlite_db)) == 1)
    presence.drain()
    until(lambda: registered(sqlite_db)[0].draining)
    with sqlite_db.write() as s:
        workers.remove(s, "wrk_test")
    until(lambda: len(registered(sqlite_db)) == 1)
    (row,) = registered(sqlite_db)
    assert row.draining and row.devices[0]["name"] == "cpu"


def test_a_request_to_drain_is_passed_on_once(sqlite_settings: Settings, sqlite_db: Database) -> None:
    drain_calls: list[str] = []
    quick = sqlite_settings.model_copy(update={"lease_seconds": 1})
    thread = Presence(quick, "wrk_test", [], 0, on_drain=lambda: drain_calls.append("drain"))
    thread.start()
    until(lambda: len(registered(sqlite_db)) == 1)
    with sqlite_db.write() as s:
        workers.request_drain(s, "wrk_test")
    until(lambda: drain_calls == ["drain"])
    time.sleep(0.6)
    thread.leave()
    assert drain_calls == ["drain"]


def test_a_worker_marks_its_installed_data_sets_as_ready(
    presence: Presence, sqlite_db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite_db.write() as s:
        datasets.set_installed(s, "fashion-mnist", "It is not installed.")
        assert "fashion-mnist" not in datasets.names(s)
    monkeypatch.setattr(installed, "DEBIAN_FASHION_MNIST", tmp_path)
    presence.start()
    until(lambda: len(registered(sqlite_db)) == 1)
    with sqlite_db.read() as s:
        assert "fashion-mnist" in datasets.names(s)
