"""`python -m worker`: Celery, the task and the supervisor together, on both profiles."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from jobs import broker
from jobs.db import Database
from jobs.runtime.settings import Settings
from jobs.store import workers
from tests.jobs.helpers import submit
from tests.worker.helpers import endless, has_trained, job_of, tiny, trainer_pids, until


@pytest.fixture
def worker(settings: Settings, db: Database) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a worker that has registered itself."""
    process = subprocess.Popen([sys.executable, "-m", "worker"], env={**os.environ, **settings.environment()})
    try:
        until(lambda: count_workers(db) == 1)
        yield process
    finally:
        process.kill()
        process.wait()


def count_workers(db: Database) -> int:
    with db.read() as s:
        return len(workers.page(s, limit=10).data)


def test_a_hint_starts_a_job_and_a_term_signal_drains_the_worker(
    settings: Settings, db: Database, worker: subprocess.Popen[bytes]
) -> None:
    first = submit(db, **tiny())
    app = broker.make_app(settings)
    broker.relay_once(db, app)
    until(lambda: job_of(db, first.id).status == "succeeded")

    second = submit(db, **endless())
    broker.relay_once(db, app)
    until(has_trained(db, second.id))
    with db.read() as s:
        (row,) = workers.page(s, limit=10).data
    assert row.current_job_id == second.id and row.devices[0]["name"]
    assert job_of(db, second.id).lease_owner == row.id

    # A closed terminal sends SIGHUP, and has the same effect.
    worker.send_signal(signal.SIGTERM if settings.broker_url else signal.SIGHUP)
    assert worker.wait(timeout=120) == 0
    given_back = job_of(db, second.id)
    assert (given_back.status, given_back.crashes) == ("queued", 0)
    assert count_workers(db) == 0 and trainer_pids(second.id) == []


def test_a_worker_that_ends_without_a_request_exits_with_1(sqlite_settings: Settings, sqlite_db: Database) -> None:
    argv, env = [sys.executable, "-m", "worker"], {**os.environ, **sqlite_settings.environment()}
    with subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stderr is not None
        lines = iter(worker.stderr.readline, "")
        assert any("ready." in line for line in lines)
        worker.send_signal(signal.SIGQUIT)  # Celery ends as after an internal error, without an exit code
        assert any("the worker ended by an error" in line for line in lines)
        assert worker.wait(timeout=120) == 1
    assert count_workers(sqlite_db) == 0


def test_invalid_settings_print_one_line_and_exit_with_2() -> None:
    bad = {**os.environ, "GANTRY_LEASE_SECONDS": "soon"}
    for module in ("worker", "worker.sampler"):
        said = subprocess.run([sys.executable, "-m", module], env=bad, capture_output=True, text=True, check=False)
        assert said.returncode == 2
        assert said.stderr.startswith("GANTRY_LEASE_SECONDS") and len(said.stderr.splitlines()) == 1
