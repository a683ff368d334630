"""What the tests of execution share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Queue
from typing import Protocol

import pytest

from jobs.db import Database
from jobs.settings import Settings
from tests.worker.helpers import WORKER
from worker.room import trainer_environment
from worker.supervise import carry_one_job
from worker.trainers import Nursery


class Carry(Protocol):
    """Starts a supervisor beside the test."""

    def __call__(self, settings: Settings) -> Future[str | None]: ...


@pytest.fixture
def sqlite_db(sqlite_settings: Settings) -> Iterator[Database]:
    """The database of `sqlite_settings`."""
    database = Database(sqlite_settings.database)
    yield database
    database.dispose()


@pytest.fixture(scope="session")
def nurseries() -> Iterator[Queue[Nursery]]:
    """Warm nurseries, lent to one supervisor at a time: torch is imported once a run of the tests."""
    lent: Queue[Nursery] = Queue()
    environment = trainer_environment(Settings(), os.environ)
    all_of_them = [Nursery("wrk_of_the_tests_one_of_several", environment) for _ in range(2)]
    for nursery in all_of_them:
        nursery.warm_up()
        lent.put(nursery)
    yield lent
    for nursery in all_of_them:
        nursery.close()


@pytest.fixture
def carry(nurseries: Queue[Nursery]) -> Iterator[Carry]:
    """Carries one job in a thread, with a database connection of its own as in a worker."""
    with ThreadPoolExecutor(2) as threads:

        def start(settings: Settings) -> Future[str | None]:
            return threads.submit(_carry, settings, nurseries)

        yield start


def _carry(settings: Settings, nurseries: Queue[Nursery]) -> str | None:
    db, nursery = Database(settings.database), nurseries.get()
    lent = nursery._process
    try:
        return carry_one_job(settings, db, WORKER, nursery)
    finally:
        if nursery._process is not lent:
            # Started here in the place of one that was killed: it would die with this thread, some time later.
            nursery.close()
        nurseries.put(nursery)
        db.dispose()
