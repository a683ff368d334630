"""Checkpoints that are damaged after they were registered, and writers that are killed during a write."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import pytest
from sqlalchemy import select, update

from gan import checkpoint
from jobs.db import Database
from jobs.models import Checkpoint
from jobs.runtime.settings import Settings
from jobs.store import checkpoints, jobs
from tests.faults.attempts import (
    check_same_as_undisturbed,
    claim,
    forked_trainer,
    release_job,
    resumed_from,
    run_attempt,
)
from tests.jobs.helpers import disk_path, files_of, submit
from tests.worker.conftest import RunJob
from tests.worker.helpers import ENDLESS, endless, events_of, job_of, tiny, until, with_checkpoints

KILLS: Final = 20


def truncated(path: Path, other: Callable[[], Path]) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path, other: Callable[[], Path]) -> None:
    os.truncate(path, 0)


def one_bit_flipped(path: Path, other: Callable[[], Path]) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def removed(path: Path, other: Callable[[], Path]) -> None:
    path.unlink()


def replaced(path: Path, other: Callable[[], Path]) -> None:
    shutil.copyfile(other(), path)


BODY: Final = tiny(checkpoints={"every_steps": 20, "keep_last": 3})
DAMAGES: Final[dict[str, tuple[Callable[[Path, Callable[[], Path]], None], str]]] = {
    "truncated": (truncated, "not what was written"),
    "emptied": (emptied, "not what was written"),
    "one bit flipped": (one_bit_flipped, "not what was written"),
    "removed": (removed, "gone"),
    "another job's": (replaced, "not what was written"),
}
"""The function that damages a file, and a part of the reason that is recorded."""


def rows_of(db: Database, job_id: str) -> list[Checkpoint]:
    """Return all checkpoints of the job, newest first, also bad and pruned ones."""
    with db.read() as s:
        query = select(Checkpoint).where(Checkpoint.job_id == job_id)
        return list(s.scalars(query.order_by(Checkpoint.step.desc(), Checkpoint.attempt.desc())))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_skipped_for_the_one_before(
    sqlite_settings: Settings, sqlite_db: Database, damage: str
) -> None:
    newest = rows_of(sqlite_db, _trained_but_not_finished(sqlite_settings, sqlite_db, BODY))[0]
    damage_file, reason = DAMAGES[damage]
    path = disk_path(files_of(sqlite_settings), newest.key)
    damage_file(path, lambda: _file_of_another_job(sqlite_settings, sqlite_db))
    _check_resumes_from_step_40(sqlite_settings, sqlite_db, newest, reason)


def _file_of_another_job(settings: Settings, db: Database) -> Path:
    job = with_checkpoints(settings, db, tiny(seed=1, priority=1), steps=1)
    with db.write() as s:
        jobs.request_cancel(s, job.id)
    return disk_path(files_of(settings), rows_of(db, job.id)[0].key)


def test_a_checkpoint_of_a_newer_format_is_skipped(sqlite_settings: Settings, sqlite_db: Database) -> None:
    newest = rows_of(sqlite_db, _trained_but_not_finished(sqlite_settings, sqlite_db, BODY))[0]
    _write_as_of_a_newer_version(sqlite_settings, sqlite_db, newest)
    _check_resumes_from_step_40(sqlite_settings, sqlite_db, newest, "has format 2, and this program reads 1")


def _trained_but_not_finished(settings: Settings, db: Database, body: dict[str, Any]) -> str:
    """Return a job with checkpoints of steps 20, 40 and 60, whose worker died before it recorded the end."""
    submit(db, **body)
    job = claim(db)
    assert run_attempt(settings, db, job, report=False) == 0
    release_job(db, job)
    return job.id


def _check_resumes_from_step_40(settings: Settings, db: Database, newest: Checkpoint, reason: str) -> None:
    job_id = newest.job_id
    assert newest.step == 60 and run_attempt(settings, db, claim(db)) == 0
    (bad,) = (event.data for event in events_of(db, job_id) if event.type == "checkpoint.bad")
    assert (bad["checkpoint_id"], bad["step"]) == (newest.id, 60) and reason in bad["reason"]
    assert resumed_from(db, job_id, 2) == 40
    assert [row.state for row in rows_of(db, job_id) if row.id == newest.id] == ["bad"]
    check_same_as_undisturbed(db, job_id, BODY)


def _write_as_of_a_newer_version(settings: Settings, db: Database, row: Checkpoint) -> None:
    files = files_of(settings)
    state = checkpoint.load(disk_path(files, row.key))
    with patch.object(checkpoint, "CHECKPOINT_FORMAT", 2), files.writing(row.key) as out:
        checkpoint.save(out, state)  # type: ignore[arg-type]
    values = {"bytes": out.stored.bytes, "sha256": out.stored.sha256}
    with db.write() as s:
        s.execute(update(Checkpoint).where(Checkpoint.id == row.id).values(values))


def test_with_only_damaged_checkpoints_the_job_fails_with_a_hint(
    sqlite_settings: Settings, sqlite_db: Database, run: RunJob
) -> None:
    job = with_checkpoints(sqlite_settings, sqlite_db, tiny(), steps=2)
    files = [disk_path(files_of(sqlite_settings), row.key) for row in rows_of(sqlite_db, job.id)]
    for path in files:
        one_bit_flipped(path, Path)
    left = [path.read_bytes() for path in files]

    run(sqlite_settings).result()

    ended = job_of(sqlite_db, job.id)
    assert (ended.status, ended.attempt) == ("failed", 2) and ended.error is not None
    assert (ended.error["code"], ended.error["retryable"]) == ("checkpoint_corrupt", False)
    assert "--from-scratch" in ended.error["hint"] and "disk" in ended.error["hint"]
    assert [path.read_bytes() for path in files] == left, "damaged files are kept for inspection"
    bad = [event.data["step"] for event in events_of(sqlite_db, job.id) if event.type == "checkpoint.bad"]
    assert bad == [2, 1] and [row.state for row in rows_of(sqlite_db, job.id)] == ["bad", "bad"]


def test_a_writer_killed_at_any_moment_leaves_a_good_checkpoint(
    sqlite_settings: Settings, sqlite_db: Database
) -> None:
    """Kill a trainer that saves every step, many times. Each attempt resumes from the last registered checkpoint."""
    body = endless() | {"checkpoints": {"every_steps": 1, "keep_last": 2}}
    job = submit(sqlite_db, **body)
    files, chance = files_of(sqlite_settings), random.Random(4)
    unfinished = step = 0
    for _ in range(KILLS):
        claimed = claim(sqlite_db)
        with forked_trainer(sqlite_settings, claimed):
            until(lambda before=step: _newest(sqlite_db, job.id) > before)  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.05))
        unfinished += len(list(disk_path(files, job.id).rglob("*.tmp")))
        good = [row for row in rows_of(sqlite_db, job.id) if row.state == "ready"]
        for row in good:
            files.verify(row.key, row.bytes, row.sha256)
            files.verify(row.weights_key, row.weights_bytes, row.weights_sha256)
            checkpoint.load(disk_path(files, row.key))
            checkpoint.load_weights(disk_path(files, row.weights_key))
        assert good[0].step > step
        step = good[0].step
        release_job(sqlite_db, claimed)
    assert not [e for e in events_of(sqlite_db, job.id) if e.type == "checkpoint.bad"]
    assert unfinished > 0, "no kill hit a file during its write"
    assert job_of(sqlite_db, job.id).total_steps == ENDLESS


def _newest(db: Database, job_id: str) -> int:
    with db.read() as s:
        row = checkpoints.newest_ready(s, job_id)
    return 0 if row is None else row.step
