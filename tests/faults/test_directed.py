"""Tests of three guards, each at the point where it is needed. `test_guards.py` runs them without the guards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from jobs import broker, leases
from jobs.db import Database, Session
from jobs.errors import FencedError
from jobs.relay import sweeper
from jobs.runtime.settings import Settings
from jobs.status import Status
from jobs.storage import StoredFile
from jobs.store import checkpoints, metrics, workers
from tests.faults.attempts import (
    TTL,
    check_same_as_undisturbed,
    claim,
    expire,
    forked_trainer,
    release_job,
    resumed_from,
    run_attempt,
)
from tests.jobs.helpers import submit
from tests.worker.helpers import job_of, tiny

ROUNDS: Final = 20


def test_a_zombie_writes_nothing(db: Database) -> None:
    for _ in range(ROUNDS):
        _check_zombie_writes(db)


def _check_zombie_writes(db: Database) -> None:
    job = submit(db)
    claim(db, "a frozen worker")
    expire(db, job.id)
    with db.write() as s:
        assert leases.reap(s) == [job.id]
    claim(db, "its successor")
    with db.write() as s:
        leases.fence(s, job.id, 2, TTL, step=1)
        leases.record_resume(s, job.id, 2, 0)
        metrics.append(s, job.id, 2, 1, ["loss_d"], np.full((1, 1), 2, np.float32))
    before = job_of(db, job.id)

    refused = [name for name, write in ZOMBIE_WRITES.items() if _is_refused(db, job.id, write)]

    assert refused == list(ZOMBIE_WRITES)
    after = job_of(db, job.id)
    assert (after.status, after.attempt, after.step, after.lease_until) == ("running", 2, 1, before.lease_until)
    assert after.event_seq == before.event_seq
    with db.read() as s:
        curve = metrics.series(s, job.id, ["loss_d"])["loss_d"]
        assert checkpoints.newest_ready(s, job.id) is None
    assert curve.steps.tolist() == [1] and curve.values.tolist() == [2.0], "the successor's value is kept"


def _tick(s: Session, job_id: str) -> None:
    leases.fence(s, job_id, 1, TTL, step=40)
    metrics.append(s, job_id, 1, 1, ["loss_d"], np.ones((40, 1), np.float32))


def _checkpoint(s: Session, job_id: str) -> None:
    leases.fence(s, job_id, 1, TTL)
    file = StoredFile(f"{job_id}/40.1", 1, "0" * 64)
    checkpoints.register(s, job_id, 1, 40, {}, file, file)


def _start(s: Session, job_id: str) -> None:
    leases.fence(s, job_id, 1, TTL)
    leases.record_resume(s, job_id, 1, 0)


def _release(s: Session, job_id: str) -> None:
    leases.release(s, job_id, 1, crash=True, reason={"code": "trainer_crashed", "message": "It was killed."})


ZOMBIE_WRITES: Final[dict[str, Callable[[Session, str], object]]] = {
    "heartbeat": lambda s, job_id: leases.renew(s, job_id, 1, TTL),
    "tick": _tick,
    "checkpoint": _checkpoint,
    "start": _start,
    "release": _release,
    "end": lambda s, job_id: leases.finish(s, job_id, 1, Status.SUCCEEDED),
}


def _is_refused(db: Database, job_id: str, write: Callable[[Session, str], object]) -> bool:
    try:
        with db.write() as s:
            write(s, job_id)
    except FencedError:
        return True
    return False


def test_a_hint_that_the_broker_lost_is_sent_again_and_the_job_runs(db: Database, settings: Settings) -> None:
    hasty = settings.model_copy(update={"republish_seconds": 0.5, "lease_seconds": 60})
    with db.write() as s:
        workers.register(s, "an idle worker", "here", [])
    with _relay(hasty):
        _take_hint(settings, 0.3)
        job = submit(db)
        assert _take_hint(settings), "the first hint arrives; it is dropped here"
        claimed = claim(db) if _take_hint(settings) else None
    assert claimed is not None and claimed.id == job.id, "no second hint was sent for the job"


@contextmanager
def _relay(settings: Settings) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=sweeper.serve, args=(settings, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _take_hint(settings: Settings, seconds: float = 20.0) -> bool:
    """Take a hint from the broker. Return whether one came within `seconds`."""
    app = broker.make_app(settings)
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue(broker.QUEUE)
        try:
            queue.get(block=True, timeout=seconds).ack()
        except queue.Empty:
            return False
    return True


def test_a_crash_right_after_a_checkpoint_leaves_no_gap(
    sqlite_settings: Settings, sqlite_db: Database, tmp_path: Path
) -> None:
    body = tiny(total_steps=60, checkpoints={"every_steps": 20})
    job = submit(sqlite_db, **body)
    faults = tmp_path / "faults"
    faults.mkdir()
    (faults / "checkpoint.committed").touch()
    first = claim(sqlite_db)
    with forked_trainer(sqlite_settings, first, faults) as trainer:
        assert trainer.wait() == 137
    release_job(sqlite_db, first)
    assert run_attempt(sqlite_settings, sqlite_db, claim(sqlite_db)) == 0
    assert resumed_from(sqlite_db, job.id, 2) == 20
    check_same_as_undisturbed(sqlite_db, job.id, body)
