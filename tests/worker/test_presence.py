"""A worker's word that it is there: said again and again, whatever happens to the database."""

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
    "CREATE TRIGGER refuse BEFORE INSERT ON workers BEGIN SELECT RAISE(ABORT, 'nobody wrote of this'); END",
    "DROP TRIGGER refuse",
)


def _never() -> None:
    raise AssertionError("nobody asked this worker to drain")


@pytest.fixture
def presence(sqlite_settings: Settings) -> Iterator[Presence]:
    """Of a worker that is not started yet."""
    cpu = {"index": 0, "name": "cpu", "memory_bytes": 1}
    thread = Presence(sqlite_settings, "wrk_test", [cpu], 0, on_drain=_never)
    yield thread
    thread.leave()


def known(db: Database) -> list[Worker]:
    with db.read() as s:
        return workers.page(s, limit=10).data


def run_sql(db: Database, statement: str) -> None:
    with db.write() as s:
        s.execute(text(statement))


def test_a_worker_is_there_until_it_leaves(sqlite_settings: Settings, sqlite_db: Database) -> None:
    thread = Presence(sqlite_settings, "wrk_test", [], 1, on_drain=_never)
    thread.start()
    until(lambda: [row.id for row in known(sqlite_db)] == ["wrk_test"])
    thread.leave()
    assert known(sqlite_db) == []


@pytest.mark.parametrize(
    ("away", "back"),
    [("ALTER TABLE workers RENAME TO hidden", "ALTER TABLE hidden RENAME TO workers"), REFUSE],
    ids=["no tables yet", "an error that nobody foresaw"],
)
def test_a_worker_says_so_again_when_it_was_not_heard(
    sqlite_db: Database, presence: Presence, away: str, back: str
) -> None:
    run_sql(sqlite_db, away)
    presence.start()
    # Long enough for its first word. Were it not, this would pass without having tested anything, and not fail.
    time.sleep(1.0)
    run_sql(sqlite_db, back)
    until(lambda: len(known(sqlite_db)) == 1)


def test_a_worker_that_was_forgotten_is_announced_again_as_it_was(sqlite_db: Database, presence: Presence) -> None:
    presence.start()
    until(lambda: len(known(sqlite_db)) == 1)
    presence.drain()
    until(lambda: known(sqlite_db)[0].draining)
    with sqlite_db.write() as s:
        workers.remove(s, "wrk_test")
    until(lambda: len(known(sqlite_db)) == 1)
    (row,) = known(sqlite_db)
    assert row.draining and row.devices[0]["name"] == "cpu"


def test_a_worker_that_is_to_drain_hears_of_it_once(sqlite_settings: Settings, sqlite_db: Database) -> None:
    told: list[str] = []
    quick = sqlite_settings.model_copy(update={"lease_seconds": 1})
    thread = Presence(quick, "wrk_test", [], 0, on_drain=lambda: told.append("drain"))
    thread.start()
    until(lambda: len(known(sqlite_db)) == 1)
    with sqlite_db.write() as s:
        workers.request_drain(s, "wrk_test")
    until(lambda: told == ["drain"])
    time.sleep(0.6)
    thread.leave()
    assert told == ["drain"]


def test_a_worker_makes_the_data_sets_ready_that_it_has(
    presence: Presence, sqlite_db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite_db.write() as s:
        datasets.set_installed(s, "fashion-mnist", "It is on no machine.")
        assert "fashion-mnist" not in datasets.names(s)
    monkeypatch.setattr(installed, "DEBIAN_FASHION_MNIST", tmp_path)
    presence.start()
    until(lambda: len(known(sqlite_db)) == 1)
    with sqlite_db.read() as s:
        assert "fashion-mnist" in datasets.names(s)
