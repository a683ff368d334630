"""The attempt's writes: in order, fenced, and none lost while the database is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from jobs import leases
from jobs.db import Database, Session
from jobs.errors import DatabaseUnavailableError, FencedError
from jobs.models import Job
from jobs.store import jobs, metrics
from tests.jobs.helpers import submit
from worker.trainer.fenced_writer import FencedWriter


@pytest.fixture
def job(db: Database) -> Job:
    """Return a job that is claimed, in attempt 1."""
    made = submit(db)
    with db.write() as s:
        leases.claim(s, "w1", "cpu", 0, 60)
    return made


@pytest.fixture
def writer(db: Database, job: Job) -> Iterator[FencedWriter]:
    """Yield a writer of attempt 1."""
    made = FencedWriter(db, job.id, 1, ttl=5)
    yield made
    made.close()


class Outage:
    """An outage of the database: every write that calls it fails until `over` is set."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def __call__(self, s: Session) -> None:
        if not self.over.is_set():
            raise DatabaseUnavailableError("The connection was cut.")


def points(db: Database, job_id: str) -> list[int]:
    with db.read() as s:
        return [int(step) for step in metrics.series(s, job_id, ["loss_d"])["loss_d"].steps]


def tick(writer: FencedWriter, step: int, outage: Outage) -> None:
    def append(s: Session) -> None:
        outage(s)
        metrics.append(s, writer.job_id, 1, step, ["loss_d"], np.ones((1, 1), np.float32))

    writer.post(append, step=step)


def test_post_does_not_wait_for_the_database_and_no_point_is_lost(db: Database, job: Job) -> None:
    outage, patient = Outage(), FencedWriter(db, job.id, 1, ttl=60)
    started = time.monotonic()
    for step in range(1, 6):
        tick(patient, step, outage)
    assert time.monotonic() - started < 40, "no post waited for the database"
    assert points(db, job.id) == []
    outage.over.set()
    patient.write()
    assert points(db, job.id) == [1, 2, 3, 4, 5]
    patient.close()


def test_after_a_failed_write_nothing_is_written(db: Database, job: Job, writer: FencedWriter) -> None:
    outage = Outage()
    tick(writer, 1, outage)
    tick(writer, 2, outage)
    with pytest.raises(FencedError, match="longer than the lease"):
        writer.write()
    outage.over.set()
    with pytest.raises(FencedError):
        tick(writer, 3, outage)
    assert points(db, job.id) == [], "the curve must have no gap"


def test_a_fenced_attempt_writes_nothing(db: Database, job: Job, writer: FencedWriter) -> None:
    with db.write() as s:
        leases.release(s, job.id, 1, crash=False, reason={"code": "worker_lost", "message": "The lease was taken."})
    with pytest.raises(FencedError):
        writer.write(step=7)
    with db.read() as s:
        assert jobs.get(s, job.id).step == 0


def test_a_write_returns_the_pending_requests(db: Database, job: Job, writer: FencedWriter) -> None:
    assert writer.write() == leases.JobRequests()
    with db.write() as s:
        jobs.request_checkpoint(s, job.id)
        jobs.request_pause(s, job.id)
    requests = writer.write()
    assert requests == leases.JobRequests(pause=True, checkpoint=True) and requests.stop
    writer.clear_checkpoint_request()
    assert writer.requests == leases.JobRequests(pause=True)
