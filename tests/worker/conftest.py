"""What the tests of execution share."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import pytest

from jobs.db import Database
from jobs.settings import Settings
from tests.worker.helpers import WORKER
from worker.supervise import carry_one_job


class Carry(Protocol):
    """Starts a supervisor beside the test."""

    def __call__(self, settings: Settings) -> Future[str | None]: ...


@pytest.fixture
def sqlite_db(sqlite_settings: Settings) -> Iterator[Database]:
    """The database of `sqlite_settings`."""
    database = Database(sqlite_settings.database)
    yield database
    database.dispose()


@pytest.fixture
def carry() -> Iterator[Carry]:
    """Carries one job in a thread, with a database connection of its own as in a worker."""
    with ThreadPoolExecutor(2) as threads:

        def start(settings: Settings) -> Future[str | None]:
            return threads.submit(_carry, settings)

        yield start


def _carry(settings: Settings) -> str | None:
    db = Database(settings.database)
    try:
        return carry_one_job(settings, db, WORKER)
    finally:
        db.dispose()
