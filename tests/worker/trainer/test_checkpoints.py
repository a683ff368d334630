"""The checkpoints of an attempt: which files stay."""

from __future__ import annotations

import pytest

from jobs import leases
from jobs.db import Database
from jobs.errors import FencedError
from jobs.runtime.settings import Settings
from jobs.storage import keys
from jobs.store import checkpoints
from tests.jobs.helpers import disk_path, files_of
from tests.worker.helpers import tiny, with_checkpoints
from worker.trainer.checkpoints import CheckpointManager
from worker.trainer.fenced_writer import FencedWriter


def test_files_that_the_record_does_not_name_are_deleted(sqlite_settings: Settings, sqlite_db: Database) -> None:
    job = with_checkpoints(sqlite_settings, sqlite_db, tiny(), steps=3)
    files = files_of(sqlite_settings)
    with sqlite_db.write() as s:
        leases.claim(s, "a second worker", "cpu", 0, 60)
        (pruned,) = checkpoints.retire(s, job.id, keep_last=2)
        stay = checkpoints.page(s, job.id, limit=10).data
    unregistered = [keys.checkpoint(job.id, 9, 1), keys.weights(job.id, 9, 1)]
    for key in (*unregistered, keys.onnx(stay[0].weights_key), keys.onnx(pruned.weights_key)):
        files.put_bytes(key, b"written, and then its writer was killed")

    CheckpointManager(FencedWriter(sqlite_db, job.id, 2, 60), files, keep_last=2).tidy()

    expected = {disk_path(files, key) for row in stay for key in (row.key, row.weights_key)}
    expected.add(disk_path(files, keys.onnx(stay[0].weights_key)))
    assert len(stay) == 2 and set(disk_path(files, unregistered[0]).parent.iterdir()) == expected


def test_an_attempt_that_is_over_deletes_nothing(sqlite_settings: Settings, sqlite_db: Database) -> None:
    job = with_checkpoints(sqlite_settings, sqlite_db, tiny(), steps=1)
    files = files_of(sqlite_settings)
    files.put_bytes(keys.checkpoint(job.id, 5, 2), b"of a successor, who has yet to register it")
    with pytest.raises(FencedError):
        CheckpointManager(FencedWriter(sqlite_db, job.id, 1, 60), files, keep_last=2).tidy()
    assert files.exists(keys.checkpoint(job.id, 5, 2))


def test_a_job_without_checkpoints_has_nothing_to_tidy(sqlite_settings: Settings, sqlite_db: Database) -> None:
    job = with_checkpoints(sqlite_settings, sqlite_db, tiny(), steps=1)
    files = files_of(sqlite_settings)
    files.delete_prefix(job.id)
    with sqlite_db.write() as s:
        leases.claim(s, "a second worker", "cpu", 0, 60)
    CheckpointManager(FencedWriter(sqlite_db, job.id, 2, 60), files, keep_last=2).tidy()
