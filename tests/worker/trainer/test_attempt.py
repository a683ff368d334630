"""The trainer process alone: what it writes, and when it must write nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from jobs import leases
from jobs.db import Database
from jobs.errors import FencedError
from jobs.models import DEFAULT_TENANT, Job
from jobs.runtime.settings import Settings
from jobs.storage import keys
from jobs.store import checkpoints, previews
from tests.jobs.helpers import disk_path, files_of, submit
from tests.worker.helpers import endless, has_trained, job_of, tiny, until
from worker.exits import Exit
from worker.sandbox import trainer_environment
from worker.trainer.attempt import TrainingAttempt
from worker.trainer.fenced_writer import FencedWriter


@contextmanager
def trainer(settings: Settings, job_id: str, attempt: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "worker.trainer", job_id, str(attempt), DEFAULT_TENANT],
        env=trainer_environment(settings, os.environ),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def claim(db: Database, job: Job, seconds: float = 60) -> Job:
    with db.write() as s:
        found = leases.claim(s, "the test", "cpu", 0, seconds)
    assert found is not None and found.id == job.id
    return found


def test_a_fenced_trainer_writes_nothing(sqlite_settings: Settings, sqlite_db: Database) -> None:
    job = claim(sqlite_db, submit(sqlite_db, **endless()))
    with trainer(sqlite_settings, job.id, 1) as process:
        until(has_trained(sqlite_db, job.id))
        with sqlite_db.write() as s:
            leases.release(
                s, job.id, 1, crash=False, reason={"code": "worker_lost", "message": "The lease was taken."}
            )
        second = claim(sqlite_db, job)
        assert process.wait(timeout=60) == Exit.STOPPED
    after = job_of(sqlite_db, job.id)
    assert (after.attempt, after.step, after.event_seq) == (2, second.step, second.event_seq)
    with sqlite_db.read() as s:
        assert checkpoints.count(s, job.id) == 0


@pytest.mark.parametrize("taken_away", [True, False])
def test_a_file_that_vanishes_during_a_write_is_an_error_only_for_the_owner_of_the_job(
    sqlite_settings: Settings, sqlite_db: Database, monkeypatch: pytest.MonkeyPatch, taken_away: bool
) -> None:
    body = tiny(checkpoints={"every_steps": 1000, "keep_last": 1})
    job = claim(sqlite_db, submit(sqlite_db, **body))

    def draw(*_: object) -> bytes:
        if taken_away:
            with sqlite_db.write() as s:
                leases.release(
                    s, job.id, 1, crash=False, reason={"code": "worker_lost", "message": "The lease was taken."}
                )
        raise FileNotFoundError("000000050.1.png.tmp")

    monkeypatch.setattr("worker.trainer.recorder.grid_png", draw)
    attempt = TrainingAttempt(sqlite_settings, DEFAULT_TENANT, job.id, 1)
    if taken_away:
        assert attempt.run() == Exit.STOPPED
    else:
        with pytest.raises(FileNotFoundError):
            attempt.run()


def test_a_trainer_of_an_attempt_that_is_not_running_writes_nothing(
    sqlite_settings: Settings, sqlite_db: Database
) -> None:
    job = submit(sqlite_db, **tiny())
    with trainer(sqlite_settings, job.id, 1) as process:
        assert process.wait(timeout=120) == Exit.STOPPED
    assert job_of(sqlite_db, job.id).event_seq == job.event_seq
    assert [path for path in disk_path(files_of(sqlite_settings), job.id).rglob("*") if path.is_file()] == []


def test_a_term_signal_saves_a_checkpoint_and_stops(sqlite_settings: Settings, sqlite_db: Database) -> None:
    job = claim(sqlite_db, submit(sqlite_db, **endless()))
    with trainer(sqlite_settings, job.id, 1) as process:
        until(has_trained(sqlite_db, job.id))
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == Exit.STOPPED
    with sqlite_db.read() as s:
        newest = checkpoints.newest_ready(s, job.id)
    assert newest is not None and newest.step == job_of(sqlite_db, job.id).step


def test_a_stopped_and_resumed_run_has_every_preview(sqlite_settings: Settings, sqlite_db: Database) -> None:
    job = submit(sqlite_db, **tiny(total_steps=8, previews={"every_steps": 2, "per_class": 1}))
    ends, steps = [], []
    while Exit.SUCCEEDED not in ends:
        attempt = claim(sqlite_db, job).attempt
        run = TrainingAttempt(sqlite_settings, DEFAULT_TENANT, job.id, attempt)
        run.ask_to_stop()
        ends.append(run.run())
        steps.append(job_of(sqlite_db, job.id).step)
        if ends[-1] == Exit.STOPPED:
            with sqlite_db.write() as s:
                leases.release(s, job.id, attempt, crash=False, reason={"code": "worker_draining", "message": "So."})
    # A slow machine may tick, and so stop, at further steps.
    assert {2, 4, 6, 8} <= set(steps) and set(ends[:-1]) == {Exit.STOPPED}
    with sqlite_db.read() as s:
        assert [row.step for row in previews.listing(s, job.id)] == [0, 2, 4, 6, 8]


def test_a_trainer_without_the_requested_gpu_exits_with_no_device(
    sqlite_settings: Settings, sqlite_db: Database
) -> None:
    job = submit(sqlite_db, **tiny(resources={"gpus": 1}))
    with sqlite_db.write() as s:
        assert leases.claim(s, "a worker that believes it has one", "cuda:0", 1, 60) is not None
    environment = trainer_environment(sqlite_settings, os.environ) | {"CUDA_VISIBLE_DEVICES": ""}
    argv = [sys.executable, "-m", "worker.trainer", job.id, "1", DEFAULT_TENANT]
    assert subprocess.run(argv, env=environment, timeout=120, check=False).returncode == Exit.NO_DEVICE
    assert b"torch" in files_of(sqlite_settings).read_bytes(keys.outcome(job.id, 1))


class _SleepClock:
    """A replacement of `time` that only `sleep` moves, so that a pause of the machine does not count."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_write_waits_for_the_database_until_the_lease_is_lost(
    sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = Database(f"sqlite:///{sqlite_settings.data_dir / 'no' / 'such' / 'folder.db'}")
    clock = _SleepClock()
    monkeypatch.setattr("worker.trainer.fenced_writer.time", clock)
    with pytest.raises(FencedError, match="away"):
        FencedWriter(missing, "job_x", 1, ttl=10.0).write()
    # It waited, and gave up before the lease ended.
    assert 0.5 < clock.now < 10.0


def test_a_write_is_made_once_the_database_is_back(sqlite_settings: Settings, sqlite_db: Database) -> None:
    job = claim(sqlite_db, submit(sqlite_db, **tiny()))
    path, hidden = sqlite_settings.data_dir / "gantry.db", sqlite_settings.data_dir / "hidden"
    sqlite_db.dispose()
    path.rename(hidden)
    path.symlink_to("no/such/folder")  # cannot be opened as a database

    began = time.monotonic()
    # In one step, so that no empty database is created in between.
    threading.Timer(0.5, hidden.replace, [path]).start()
    FencedWriter(sqlite_db, job.id, 1, ttl=30).write(step=7)
    assert time.monotonic() - began > 0.4
    assert job_of(sqlite_db, job.id).step == 7
