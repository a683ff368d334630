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
    """One that is claimed, as attempt 1."""
    made = submit(db)
    with db.write() as s:
        leases.claim(s, "w1", "cpu", 0, 60)
    return made


@pytest.fixture
def writer(db: Database, job: Job) -> Iterator[FencedWriter]:
    """Of attempt 1."""
    made = FencedWriter(db, job.id, 1, ttl=5)
    yield made
    made.close()


class Away:
    """A database that does not answer for a while: every write meets it, as it would meet a cut line."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def __call__(self, s: Session) -> None:
        if not self.over.is_set():
            raise DatabaseUnavailableError("The line is cut.")


def points(db: Database, job_id: str) -> list[int]:
    with db.read() as s:
        return [int(step) for step in metrics.series(s, job_id, ["loss_d"])["loss_d"].steps]


def tick(writer: FencedWriter, step: int, away: Away) -> None:
    def append(s: Session) -> None:
        away(s)
        metrics.append(s, writer.job_id, 1, step, ["loss_d"], np.ones((1, 1), np.float32))

    writer.post(append, step=step)


def test_training_goes_on_while_the_database_is_away_and_no_point_is_lost(db: Database, job: Job) -> None:
    away, patient = Away(), FencedWriter(db, job.id, 1, ttl=60)
    started = time.monotonic()
    for step in range(1, 6):
        tick(patient, step, away)
    assert time.monotonic() - started < 40, "nobody waited until a write was given up"
    assert points(db, job.id) == []
    away.over.set()
    patient.write()
    assert points(db, job.id) == [1, 2, 3, 4, 5]
    patient.close()


def test_what_follows_a_write_that_was_given_up_is_not_written(db: Database, job: Job, writer: FencedWriter) -> None:
    away = Away()
    tick(writer, 1, away)
    tick(writer, 2, away)
    with pytest.raises(FencedError, match="longer than the lease"):
        writer.write()
    away.over.set()
    with pytest.raises(FencedError):
        tick(writer, 3, away)
    assert points(db, job.id) == [], "a curve with a hole would be a lie"


def test_an_attempt_that_lost_the_job_writes_nothing(db: Database, job: Job, writer: FencedWriter) -> None:
    with db.write() as s:
        leases.release(s, job.id, 1, crash=False, reason={"code": "worker_lost", "message": "Taken away."})
    with pytest.raises(FencedError):
        writer.write(step=7)
    with db.read() as s:
        assert jobs.get(s, job.id).step == 0


def test_orders_come_with_the_writes(db: Database, job: Job, writer: FencedWriter) -> None:
    assert writer.write() == leases.JobRequests()
    with db.write() as s:
        jobs.request_checkpoint(s, job.id)
        jobs.request_pause(s, job.id)
    orders = writer.write()
    assert orders == leases.JobRequests(pause=True, checkpoint=True) and orders.stop
    writer.clear_checkpoint_request()
    assert writer.requests == leases.JobRequests(pause=True)
