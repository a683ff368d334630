"""A data folder on a full disk: good checkpoints stay, training continues, and writes succeed again with space."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import pytest
import torch

from gan import datasets
from gan.events import CheckpointDue, Tick
from gan.spec import resolve
from gan.train import Trainer
from jobs.db import Database, migrate
from jobs.errors import DatabaseUnavailableError
from jobs.models import Job
from jobs.runtime import failpoints
from jobs.runtime.settings import Settings
from jobs.store import checkpoints
from tests.conftest import small_settings
from tests.faults.attempts import check_same_as_undisturbed, claim, finish, forked_trainer
from tests.faults.small_disk import SmallDisk, small_disk
from tests.jobs.helpers import disk_path, files_of, submit
from tests.worker.conftest import RunJob
from tests.worker.helpers import events_of, job_of, tiny, until
from worker.trainer.checkpoints import CheckpointManager
from worker.trainer.fenced_writer import FencedWriter
from worker.trainer.recorder import Recorder

BODY: Final = tiny(checkpoints={"every_steps": 10, "keep_last": 2})


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "data") as mounted:
        yield mounted


@pytest.fixture
def database_elsewhere(disk: SmallDisk, tmp_path: Path) -> Iterator[tuple[Settings, Database]]:
    """Yield settings and database of a service whose data folder is on the small disk, but whose database is not."""
    settings = small_settings(tmp_path, database_url=f"sqlite:///{tmp_path / 'gantry.db'}")
    migrate(settings)
    db = Database(settings.database)
    yield settings, db
    db.dispose()


def test_training_continues_on_a_full_disk_and_saves_again_with_space(
    disk: SmallDisk, database_elsewhere: tuple[Settings, Database]
) -> None:
    settings, db = database_elsewhere
    submit(db, **BODY)
    job = claim(db)
    full_at = {20: disk.fill, 40: disk.empty}
    saved = _train(settings, db, job, full_at)

    assert saved == {10: True, 20: False, 30: False, 40: True, 50: True, 60: True}
    failed = [event.data for event in events_of(db, job.id) if event.type == "checkpoint.failed"]
    assert [data["step"] for data in failed] == [20, 30]
    assert all("disk was full" in data["reason"] and "training continues" in data["reason"] for data in failed)
    finish(db, job)
    check_same_as_undisturbed(db, job.id, BODY)


def test_the_last_good_checkpoint_stays_on_a_full_disk(
    disk: SmallDisk, database_elsewhere: tuple[Settings, Database]
) -> None:
    settings, db = database_elsewhere
    submit(db, **BODY)
    job = claim(db)
    _train(settings, db, job, {20: disk.fill}, until_step=30)
    files = files_of(settings)
    with db.read() as s:
        (good,) = checkpoints.page(s, job.id, limit=10).data
    assert good.step == 10
    files.verify(good.key, good.bytes, good.sha256)
    files.verify(good.weights_key, good.weights_bytes, good.weights_sha256)
    there = {disk_path(files, key) for key in (good.key, good.weights_key)}
    assert set(disk_path(files, good.key).parent.iterdir()) == there, "no unfinished file is left"


def _train(
    settings: Settings, db: Database, job: Job, at: Mapping[int, Callable[[], None]], until_step: int = 60
) -> dict[int, bool]:
    """Train as `worker.trainer` does, with a function of `at` before the checkpoint of its step.

    Returns, for each checkpoint, whether it was saved.
    """
    torch.set_num_threads(1)
    writer, artifacts = FencedWriter(db, job.id, job.attempt, 600), files_of(settings)
    report, manager = Recorder(writer, artifacts), CheckpointManager(writer, artifacts, keep_last=2)
    spec = resolve(BODY)
    trainer = Trainer(spec, datasets.load(spec.dataset))
    report.begin(trainer, "cpu")
    saved: dict[int, bool] = {}
    for event in trainer.run(stop=lambda: trainer.step >= until_step):
        if isinstance(event, Tick):
            report.tick(event)
        if isinstance(event, CheckpointDue):
            if trainer.step in at:
                at[trainer.step]()
            manager.save(trainer, report.at(trainer.step), final=event.final)
            saved[trainer.step] = manager.finish()
    writer.close()
    return saved


def test_a_job_whose_disk_stays_full_fails_with_a_hint(
    disk: SmallDisk, database_elsewhere: tuple[Settings, Database], run: RunJob
) -> None:
    settings, db = database_elsewhere
    job = submit(db, **BODY, max_attempts=1)
    disk.fill()
    run(settings).result()
    ended = job_of(db, job.id)
    assert ended.status == "failed" and ended.error is not None
    assert (ended.error["code"], ended.error["retryable"]) == ("disk_full", True)
    assert "Free space" in ended.error["hint"]
    assert [event.type for event in events_of(db, job.id)].count("checkpoint.failed") == 3


def test_a_database_on_a_full_disk_stays_intact_and_the_job_continues(
    disk: SmallDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = small_settings(tmp_path, lease_seconds=60)
    migrate(settings)
    db = Database(settings.database)
    body = tiny(total_steps=600, checkpoints={"every_steps": 600}, previews={"every_steps": 50, "per_class": 1})
    submit(db, **body)
    job = claim(db)
    faults = tmp_path / "faults"
    faults.mkdir()
    # It records its steps with each preview, every 50 steps. The first time it stops, with many steps to write.
    (faults / "metrics.committed").write_text(failpoints.STOP)
    # A file outside the disk, because an earlier test of this process may have set up logging otherwise.
    warning = tmp_path / "warning"
    monkeypatch.setattr(
        "worker.trainer.fenced_writer.log", SimpleNamespace(warning=lambda event, **_: warning.write_text(event))
    )
    with forked_trainer(settings, job, faults) as trainer:
        trainer.wait_until_stopped()
        disk.fill()
        with pytest.raises(DatabaseUnavailableError, match="full"):
            for _ in range(100):
                submit(db)
        os.kill(trainer.pid, signal.SIGCONT)
        until(lambda: warning.exists() and "the write is retried" in warning.read_text())
        disk.empty()
        assert trainer.wait() == 0
    finish(db, job)
    check_same_as_undisturbed(db, job.id, body)
    db.dispose()
    with sqlite3.connect(settings.data_dir / "gantry.db") as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
