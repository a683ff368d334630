"""Attempts that run in the test's process or in a fork of it, and functions that change their record."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import torch
from sqlalchemy import Engine, create_engine, update
from sqlalchemy.exc import OperationalError

from gan.spec import resolve
from jobs import clock, leases
from jobs.db import Database
from jobs.models import DEFAULT_TENANT, Job
from jobs.models import Attempt as AttemptRow
from jobs.runtime import failpoints
from jobs.runtime.settings import Settings
from jobs.status import Status
from jobs.store import checkpoints, metrics
from tests.faults.processes import signal_all
from tests.faults.undisturbed import References
from tests.worker.helpers import job_of
from worker.exits import Exit
from worker.trainer.attempt import TrainingAttempt

TTL: Final = 600.0
"""A lease longer than any test, s."""
_REFERENCES: Final = References()


def claim(db: Database, worker: str = "a worker") -> Job:
    """Claim the next queued job, even during its backoff."""
    with db.write() as s:
        s.execute(update(Job).where(Job.status == Status.QUEUED.value).values(not_before=0.0))
        job = leases.claim(s, worker, "cpu", 0, TTL)
    assert job is not None
    return job


def expire(db: Database, job_id: str) -> None:
    """Let the lease of the job expire."""
    with db.write() as s:
        late = clock.read(s) - 1
        s.execute(update(Job).where(Job.id == job_id).values(lease_until=late, heartbeat_at=late - TTL))


def run_attempt(settings: Settings, db: Database, job: Job, *, report: bool = True) -> Exit:
    """Run the claimed attempt in this process. Return its exit code.

    `report`: record a success, as a supervisor does.
    """
    torch.set_num_threads(1)
    code = TrainingAttempt(settings, DEFAULT_TENANT, job.id, job.attempt).run()
    if code is Exit.SUCCEEDED and report:
        finish(db, job)
    return code


def finish(db: Database, job: Job) -> None:
    """Record the job as succeeded, as a supervisor does after its trainer has succeeded."""
    with db.write() as s:
        leases.finish(s, job.id, job.attempt, Status.SUCCEEDED)


class AttemptProcess:
    """A forked child."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._returncode: int | None = None

    def wait(self) -> int:
        """Wait for the end. Return the exit code, negative for a signal."""
        if self._returncode is None:
            self._returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._returncode

    def wait_until_stopped(self) -> None:
        """Wait until SIGSTOP has stopped it. Raises `AssertionError` if it ends instead."""
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            self._returncode = os.waitstatus_to_exitcode(status)
        assert self._returncode is None, f"it ended with {self._returncode} instead of stopping"

    def kill(self) -> None:
        """Kill it, if it has not ended."""
        if self._returncode is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()


@contextmanager
def forked_trainer(settings: Settings, job: Job, faults: Path | None = None) -> Iterator[AttemptProcess]:
    """Run the attempt in a forked child that may be killed. It starts at once, because torch is already imported.

    `faults` is a folder of failpoints (`jobs.runtime.failpoints`).
    """
    child = AttemptProcess(os.fork() or _train(settings, job, faults))
    try:
        yield child
    finally:
        child.kill()


def _train(settings: Settings, job: Job, faults: Path | None) -> NoReturn:
    code = 1
    try:
        failpoints.arm(faults)
        torch.set_num_threads(1)
        code = TrainingAttempt(settings, DEFAULT_TENANT, job.id, job.attempt).run()
    finally:
        os._exit(code)


def freeze(settings: Settings, job_id: str, *pids: int) -> None:
    """Stop these processes between two writes.

    A process that is stopped within a transaction locks the row until PostgreSQL ends its session, or all of SQLite
    until the process continues.
    """
    sqlite = settings.sqlite_file is not None
    short_wait = {"timeout": 0.2} if sqlite else {"options": "-c lock_timeout=200ms"}
    engine = create_engine(settings.database, connect_args=short_wait)
    signal_all(pids, signal.SIGSTOP)
    while not _can_lock(engine, job_id):
        signal_all(pids, signal.SIGCONT)
        time.sleep(0.05)
        signal_all(pids, signal.SIGSTOP)
    engine.dispose()


def _can_lock(engine: Engine, job_id: str) -> bool:
    try:
        with engine.connect() as connection:
            connection.execute(update(Job).where(Job.id == job_id).values(attempt=Job.attempt))
    except OperationalError:
        return False
    return True


def resumed_from(db: Database, job_id: str, attempt: int) -> int | None:
    """Return the step of the checkpoint from which this attempt resumed; 0 from scratch."""
    with db.read() as s:
        return s.get_one(AttemptRow, (job_id, attempt)).resumed_from_step


def release_job(db: Database, job: Job) -> None:
    """Release the job without counting a crash, as a supervisor does after a drain."""
    reason = {"code": "trainer_stopped", "message": "It was killed."}
    with db.write() as s:
        leases.release(s, job.id, job.attempt, crash=False, reason=reason)


def check_same_as_undisturbed(db: Database, job_id: str, body: dict[str, Any]) -> None:
    """Check that the job succeeded once, with whole curves and the result of an undisturbed run."""
    job, reference = job_of(db, job_id), _REFERENCES.of(resolve(body))
    assert (job.status, job.step) == ("succeeded", body["total_steps"])
    with db.read() as s:
        curves = metrics.series(s, job_id, list(reference.curves))
        last = checkpoints.newest_ready(s, job_id)
    for name, values in reference.curves.items():
        np.testing.assert_array_equal(curves[name].steps, np.arange(1, job.step + 1), err_msg=name)
        np.testing.assert_array_equal(curves[name].values, values, err_msg=name)
    assert last is not None and last.weights_sha256 == reference.digest(resolve(body), job.step)
