"""The checkpoint files that an attempt keeps and deletes."""

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


def test_files_without_a_row_are_deleted(sqlite_settings: Settings, sqlite_db: Database) -> None:
    job = with_checkpoints(sqlite_settings, sqlite_db, tiny(), steps=3)
    files = files_of(sqlite_settings)
    with sqlite_db.write() as s:
        leases.claim(s, "a second worker", "cpu", 0, 60)
        (pruned,) = checkpoints.retire(s, job.id, keep_last=2)
        kept = checkpoints.page(s, job.id, limit=10).data
    unregistered = [keys.checkpoint(job.id, 9, 1), keys.weights(job.id, 9, 1)]
    for key in (*unregistered, keys.onnx(kept[0].weights_key), keys.onnx(pruned.weights_key)):
        files.put_bytes(key, b"left by a killed writer")

    CheckpointManager(FencedWriter(sqlite_db, job.id, 2, 60), files, keep_last=2).tidy()

    expected = {disk_path(files, key) for row in kept for key in (row.key, row.weights_key)}
    expected.add(disk_path(files, keys.onnx(kept[0].weights_key)))
    assert len(kept) == 2 and set(disk_path(files, unregistered[0]).parent.iterdir()) == expected


def test_a_fenced_attempt_deletes_nothing(sqlite_settings: Settings, sqlite_db: Database) -> None:
    job = with_checkpoints(sqlite_settings, sqlite_db, tiny(), steps=1)
    files = files_of(sqlite_settings)
    files.put_bytes(keys.checkpoint(job.id, 5, 2), b"written by a successor, not registered yet")
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
