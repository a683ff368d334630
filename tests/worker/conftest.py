"""Fixtures of the worker's tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Queue
from typing import Protocol

import pytest

from jobs.db import Database
from jobs.runtime.settings import Settings
from tests.worker.helpers import WORKER
from worker.sandbox import trainer_environment
from worker.supervise import run_one_job
from worker.trainer_process import ForkServer


class RunJob(Protocol):
    """A function that starts a supervisor for one job, in a thread."""

    def __call__(self, settings: Settings) -> Future[str | None]: ...


@pytest.fixture
def sqlite_db(sqlite_settings: Settings) -> Iterator[Database]:
    """Yield the database of `sqlite_settings`."""
    database = Database(sqlite_settings.database)
    yield database
    database.dispose()


@pytest.fixture(scope="session")
def fork_servers() -> Iterator[Queue[ForkServer]]:
    """Yield warm fork servers, each used by one supervisor at a time: torch is imported once."""
    lent: Queue[ForkServer] = Queue()
    environment = trainer_environment(Settings(), os.environ)
    all_of_them = [ForkServer("wrk_of_the_tests_one_of_several", environment) for _ in range(2)]
    for fork_server in all_of_them:
        fork_server.warm_up()
        lent.put(fork_server)
    yield lent
    for fork_server in all_of_them:
        fork_server.close()


@pytest.fixture
def run(fork_servers: Queue[ForkServer]) -> Iterator[RunJob]:
    """Yield a function that runs one job in a thread, with its own database connection, as a worker does."""
    with ThreadPoolExecutor(2) as threads:

        def start(settings: Settings) -> Future[str | None]:
            return threads.submit(_run, settings, fork_servers)

        yield start


def _run(settings: Settings, fork_servers: Queue[ForkServer]) -> str | None:
    db, fork_server = Database(settings.database), fork_servers.get()
    lent = fork_server._process
    try:
        return run_one_job(settings, db, WORKER, fork_server)
    finally:
        if fork_server._process is not lent:
            # The supervisor replaced a killed fork server. The new one would die with this thread at an unknown time.
            fork_server.close()
        fork_servers.put(fork_server)
        db.dispose()
