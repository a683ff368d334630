"""Tests of the sweeper: lost jobs, due hints, orphaned files."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from sqlalchemy import update

from jobs import clock, leases
from jobs.db import Database
from jobs.models import Job
from jobs.relay import sweeper
from jobs.runtime.settings import Settings
from jobs.storage import keys, open_storage
from jobs.store import checkpoints, jobs, outbox
from tests.jobs.helpers import disk_path, files_of, submit


def test_sends_hints_and_gives_lost_jobs_back_until_stopped(db: Database, settings: Settings) -> None:
    job = submit(db)
    with db.write() as s:
        leases.claim(s, "w1", "cpu", 0, 30)
        s.execute(update(Job).where(Job.id == job.id).values(lease_until=clock.now() - 1))
    stop = threading.Event()
    thread = threading.Thread(target=sweeper.serve, args=(settings, stop))
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not _is_queued_and_hinted(db, job.id):
            time.sleep(0.05)
        assert _is_queued_and_hinted(db, job.id)
    finally:
        stop.set()
        thread.join(timeout=60)
    assert not thread.is_alive()


def _is_queued_and_hinted(db: Database, job_id: str) -> bool:
    with db.read() as s:
        job = jobs.get(s, job_id)
        return job.status == "queued" and job.published_at is not None and not outbox.fetch_due(s, 10)


def age(folder: Path) -> None:
    """Make the folder and its files look as if they were written long ago."""
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (0, 0))


def test_files_are_kept_when_the_database_has_no_job(db: Database, settings: Settings) -> None:
    artifacts, files = open_storage(settings), files_of(settings)
    files.put_bytes("job_00000000000000000000000000/x", b"")
    age(disk_path(files, "job_00000000000000000000000000"))
    assert sweeper.delete_orphans(db, artifacts) == []
    assert files.exists("job_00000000000000000000000000/x")


def test_files_of_a_deleted_job_are_deleted_and_others_kept(db: Database, settings: Settings) -> None:
    artifacts, files = open_storage(settings), files_of(settings)
    kept = submit(db)
    for name in (kept.id, "job_00000000000000000000000000"):
        files.put_bytes(f"{name}/x", b"")
        age(disk_path(files, name))
    assert sweeper.delete_orphans(db, artifacts) == ["job_00000000000000000000000000"]
    assert files.exists(f"{kept.id}/x")


def test_unregistered_files_of_an_ended_job_are_deleted_two_leases_later(db: Database, settings: Settings) -> None:
    job, files = submit(db), files_of(settings)
    with db.write() as s:
        leases.claim(s, "w1", "cpu", 0, 30)
        identity = (job.id, 10, 1)
        file, weights = (files.put_bytes(key(*identity), b"good") for key in (keys.checkpoint, keys.weights))
        checkpoints.register(s, job.id, 1, 10, {}, file, weights)
    unregistered = [keys.checkpoint(job.id, 20, 1), keys.preview(job.id, 20, 1)]
    for key in (*unregistered, keys.onnx(weights.key)):
        files.put_bytes(key, b"its writer was killed")
    with db.write() as s:
        jobs.request_cancel(s, job.id)
        leases.release(s, job.id, 1, crash=True, reason={"code": "trainer_crashed", "message": "Killed."})

    until = sweeper.delete_unrecorded(db, open_storage(settings), None, lease_seconds=30)
    assert all(map(files.exists, unregistered)), "their writer may be about to register them"
    sweeper.delete_unrecorded(db, open_storage(settings), until, lease_seconds=0)
    assert not any(map(files.exists, unregistered))
    assert all(map(files.exists, (file.key, weights.key, keys.onnx(weights.key))))
