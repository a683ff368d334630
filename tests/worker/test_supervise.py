"""Supervisor and trainer together, with real processes, a real database and real files."""

from __future__ import annotations

import os
import signal
from concurrent.futures import Future

import numpy as np
import pytest
import torch
from sqlalchemy import text, update
from sqlalchemy.exc import IntegrityError

from gan import checkpoint
from gan.spec import DatasetInfo, resolve
from jobs import clock, leases
from jobs.db import Database
from jobs.models import Checkpoint, Job, Worker
from jobs.runtime.settings import Settings
from jobs.storage import keys
from jobs.store import checkpoints, datasets, jobs, metrics, previews, workers
from tests.jobs.helpers import disk_path, files_of, submit
from tests.worker.conftest import RunJob
from tests.worker.helpers import (
    WORKER,
    endless,
    events_of,
    has_trained,
    job_of,
    tiny,
    trainer_pids,
    uninterrupted,
    until,
    with_checkpoints,
)
from tests.worker.pausing import PausingTrainer
from worker.sandbox import trainer_environment
from worker.supervise import run_one_job
from worker.trainer_process import ForkServer


def ready_checkpoints(db: Database, job_id: str) -> list[Checkpoint]:
    with db.read() as s:
        return checkpoints.page(s, job_id, limit=100).data


def start_training(settings: Settings, db: Database, run: RunJob) -> tuple[Job, Future[str | None]]:
    """Return a job that trains without end, and the result of its supervisor."""
    job = submit(db, **endless())
    running = run(settings)
    until(has_trained(db, job.id))
    return job, running


# For workers that claim no job, and so start no trainer.
UNUSED_FORK_SERVER = ForkServer(WORKER.worker_id, {})


def test_without_a_job_no_trainer_is_started(sqlite_settings: Settings, sqlite_db: Database) -> None:
    assert run_one_job(sqlite_settings, sqlite_db, WORKER, UNUSED_FORK_SERVER) is None


def test_a_draining_worker_takes_no_job(sqlite_settings: Settings, sqlite_db: Database) -> None:
    job = submit(sqlite_db, **tiny())
    with sqlite_db.write() as s:
        workers.register(s, WORKER.worker_id, "here", [])
        workers.heartbeat(s, WORKER.worker_id, draining=True)
    assert run_one_job(sqlite_settings, sqlite_db, WORKER, UNUSED_FORK_SERVER) is None
    assert job_of(sqlite_db, job.id).status == "queued"


def test_a_job_is_trained_to_its_end(settings: Settings, db: Database, run: RunJob) -> None:
    body = tiny()
    job = submit(db, **body)
    assert run(settings).result() == job.id

    ended = job_of(db, job.id)
    assert (ended.status, ended.error, ended.step, ended.attempt) == ("succeeded", None, 60, 1)
    assert ended.images_seen == 60 * 8 and ended.device is not None and ended.device.startswith(("cpu (", "cuda:0 "))
    with db.read() as s:
        names = [line.name for line in metrics.summaries(s, job.id)]
        curves = metrics.series(s, job.id, names)
        drawn = previews.listing(s, job.id)
    assert names and all(curve.steps.tolist() == [*range(1, 61)] for curve in curves.values())
    assert ended.latest_metrics["loss_d"] == pytest.approx(curves["loss_d"].values[-1])
    assert [row.step for row in drawn] == [0, 50, 60]
    files = files_of(settings)
    assert [row.step for row in ready_checkpoints(db, job.id)] == [60, 40], "the last two are kept"
    for row in ready_checkpoints(db, job.id):
        files.verify(row.key, row.bytes, row.sha256)
        assert checkpoint.load(disk_path(files, row.key))["play"]["step"] == row.step
        files.verify(row.weights_key, row.weights_bytes, row.weights_sha256)
    assert not files.exists(keys.checkpoint(job.id, 20, 1)), "a retired checkpoint is deleted"
    assert sum(e.ends_job for e in events_of(db, job.id)) == 1


def test_a_killed_trainer_is_replaced_and_the_curves_are_unchanged(
    settings: Settings, db: Database, run: RunJob
) -> None:
    body = tiny(total_steps=500, checkpoints={"every_steps": 25, "keep_last": 3}, previews={"every_steps": 500})
    job = submit(db, **body)
    pausing = PausingTrainer(settings)
    first = run(pausing.settings)
    os.kill(pausing.pause_when(lambda: len(ready_checkpoints(db, job.id)) >= 2, job.id), signal.SIGKILL)
    first.result()

    between = job_of(db, job.id)
    assert (between.status, between.crashes, between.lease_until) == ("queued", 1, None)
    assert between.status_reason is not None and between.status_reason["code"] == "trainer_crashed"
    assert "SIGKILL" in between.status_reason["message"]

    until(lambda: run(settings).result() is not None)
    ended = job_of(db, job.id)
    assert (ended.status, ended.attempt, ended.step) == ("succeeded", 2, 500)
    resumed = [e.data["step"] for e in events_of(db, job.id) if e.type == "job.progress" and e.attempt == 2]
    assert resumed[0] >= 50, "it resumed from a checkpoint"
    with db.read() as s:
        curves = metrics.series(s, job.id, [line.name for line in metrics.summaries(s, job.id)])
    for name, values in uninterrupted(body).curves.items():
        np.testing.assert_array_equal(curves[name].steps, np.arange(1, 501))
        np.testing.assert_array_equal(curves[name].values, values, err_msg=name)


def test_a_cancelled_job_keeps_a_last_checkpoint(sqlite_settings: Settings, sqlite_db: Database, run: RunJob) -> None:
    job, running = start_training(sqlite_settings, sqlite_db, run)
    with sqlite_db.write() as s:
        jobs.request_cancel(s, job.id)
    running.result()
    ended = job_of(sqlite_db, job.id)
    assert (ended.status, ended.error) == ("cancelled", None)
    assert [row.step for row in ready_checkpoints(sqlite_db, job.id)] == [ended.step]
    assert trainer_pids(job.id) == []


def test_a_checkpoint_is_saved_on_request(sqlite_settings: Settings, sqlite_db: Database, run: RunJob) -> None:
    job, running = start_training(sqlite_settings, sqlite_db, run)
    with sqlite_db.write() as s:
        jobs.request_checkpoint(s, job.id)
    until(lambda: len(ready_checkpoints(sqlite_db, job.id)) == 1)
    assert job_of(sqlite_db, job.id).checkpoint_requested_at is None
    with sqlite_db.write() as s:
        jobs.request_cancel(s, job.id)
    running.result()


def test_a_drained_worker_releases_its_job(sqlite_settings: Settings, sqlite_db: Database, run: RunJob) -> None:
    with sqlite_db.write() as s:
        workers.register(s, WORKER.worker_id, "here", [])
    job, running = start_training(sqlite_settings, sqlite_db, run)
    with sqlite_db.write() as s:
        workers.heartbeat(s, WORKER.worker_id, draining=True)
    running.result()
    given_back = job_of(sqlite_db, job.id)
    assert (given_back.status, given_back.crashes) == ("queued", 0)
    assert given_back.status_reason is not None and given_back.status_reason["code"] == "worker_draining"
    assert [row.step for row in ready_checkpoints(sqlite_db, job.id)] == [given_back.step]
    with sqlite_db.read() as s:
        assert workers.page(s, limit=1).data[0].current_job_id is None


def test_a_supervisor_whose_lease_was_taken_ends_its_trainer(
    sqlite_settings: Settings, sqlite_db: Database, run: RunJob
) -> None:
    job, running = start_training(sqlite_settings, sqlite_db, run)
    with sqlite_db.write() as s:
        leases.release(s, job.id, 1, crash=False, reason={"code": "worker_lost", "message": "The lease was taken."})
    seq = job_of(sqlite_db, job.id).event_seq
    running.result()
    after = job_of(sqlite_db, job.id)
    assert (after.status, after.event_seq) == ("queued", seq), "it wrote nothing more"
    assert trainer_pids(job.id) == []


def check_released_after_error(db: Database, job_id: str) -> None:
    """Check that the job is queued again after an error of the supervisor, and that its worker is idle."""
    after = job_of(db, job_id)
    assert (after.status, after.crashes) == ("queued", 1)
    assert after.status_reason is not None and after.status_reason["code"] == "supervisor_error"
    with db.read() as s:
        assert workers.page(s, limit=1).data[0].current_job_id is None
    assert trainer_pids(job_id) == []


def test_a_supervisor_that_cannot_start_a_trainer_releases_the_job(
    sqlite_settings: Settings, sqlite_db: Database, run: RunJob
) -> None:
    with sqlite_db.write() as s:
        workers.register(s, WORKER.worker_id, "here", [])
    job = submit(sqlite_db, **tiny())
    (sqlite_settings.data_dir / "artifacts").write_bytes(b"a file where the folder should be")
    with pytest.raises(OSError, match=r"artifacts|Not a directory|File exists"):
        run(sqlite_settings).result()
    check_released_after_error(sqlite_db, job.id)


# A heartbeat, unlike a trainer's tick, leaves the job's step as it was.
REFUSE_HEARTBEATS = """
CREATE TRIGGER refuse BEFORE UPDATE OF lease_until ON jobs
WHEN NEW.step = OLD.step AND NEW.lease_until IS NOT NULL AND OLD.status = 'running'
BEGIN SELECT RAISE(ABORT, 'refused by the test'); END
"""


def test_a_supervisor_with_an_unexpected_error_ends_its_trainer_and_releases_the_job(
    sqlite_settings: Settings, sqlite_db: Database, run: RunJob
) -> None:
    with sqlite_db.write() as s:
        workers.register(s, WORKER.worker_id, "here", [])
    job, running = start_training(sqlite_settings, sqlite_db, run)
    with sqlite_db.write() as s:
        s.execute(text(REFUSE_HEARTBEATS))
    with pytest.raises(IntegrityError, match="refused by the test"):
        running.result()
    check_released_after_error(sqlite_db, job.id)


def test_another_number_of_threads_than_the_checkpoints_is_logged(
    sqlite_settings: Settings, sqlite_db: Database, run: RunJob
) -> None:
    job = with_checkpoints(sqlite_settings, sqlite_db, tiny(total_steps=4), steps=3)
    run(sqlite_settings.model_copy(update={"trainer_threads": 2})).result()
    log = files_of(sqlite_settings).read_bytes(keys.log(job.id, 2)).decode()
    assert "the number of threads differs from the checkpoint's" in log


def test_a_trainer_uses_its_workers_share_of_the_cores(
    sqlite_settings: Settings, sqlite_db: Database, run: RunJob
) -> None:
    with sqlite_db.write() as s:
        for name in [WORKER.worker_id, *(f"wrk_{n}" for n in range(os.cpu_count() or 1))]:
            workers.register(s, name, "here", [])
        # The other workers send no heartbeats, and the trainer may read them late.
        s.execute(update(Worker).values(heartbeat_at=clock.now() + 600))
    job = submit(sqlite_db, **tiny(total_steps=2))
    run(sqlite_settings.model_copy(update={"trainer_threads": 0})).result()
    log = files_of(sqlite_settings).read_bytes(keys.log(job.id, 1)).decode()
    assert '"threads": 1' in log


def test_a_diverged_run_fails_without_a_retry_and_names_the_step(
    sqlite_settings: Settings, sqlite_db: Database, run: RunJob
) -> None:
    # Adam's steps are bounded, so a spec alone hardly overflows. The job resumes from a checkpoint with a NaN.
    job = with_checkpoints(sqlite_settings, sqlite_db, tiny(safeguards={"every_steps": 10}), steps=3)
    add_nan_to_newest_checkpoint(sqlite_settings, sqlite_db, job.id)
    run(sqlite_settings).result()
    ended = job_of(sqlite_db, job.id)
    assert (ended.status, ended.attempt) == ("failed", 2) and ended.error is not None
    assert (ended.error["code"], ended.error["retryable"]) == ("diverged", False)
    assert 4 <= ended.error["step"] <= 60 and "not finite" in ended.error["message"]
    assert "learning_rate" in ended.error["hint"] and f"--from {job.id} --remedy non_finite" in ended.error["hint"]
    assert ended.health["verdict"] == "failing" and ended.health["findings"][0]["code"] == "non_finite"


def test_a_checkpoint_of_another_spec_fails_the_job_with_its_own_message(
    sqlite_settings: Settings, sqlite_db: Database, run: RunJob
) -> None:
    job = with_checkpoints(sqlite_settings, sqlite_db, tiny(), steps=1)
    with sqlite_db.write() as s:
        jobs.get(s, job.id).spec = resolve(tiny(batch_size=9)).model_dump(mode="json")
    run(sqlite_settings).result()
    ended = job_of(sqlite_db, job.id)
    assert (ended.status, ended.attempt) == ("failed", 2) and ended.error is not None
    assert (ended.error["code"], ended.error["retryable"]) == ("checkpoint_corrupt", False)
    assert "another spec" in ended.error["message"]
    assert "--from-scratch" in ended.error["hint"] and "disk" not in ended.error["hint"]


def add_nan_to_newest_checkpoint(settings: Settings, db: Database, job_id: str) -> None:
    """Register a newest checkpoint whose D holds a NaN."""
    files = files_of(settings)
    newest = ready_checkpoints(db, job_id)[0]
    state = checkpoint.load(disk_path(files, newest.key))
    next(tensor for tensor in state["play"]["D"].values() if tensor.is_floating_point()).fill_(torch.nan)
    with disk_path(files, newest.key).open("wb") as f:
        checkpoint.save(f, state)
    with db.write() as s:
        row = checkpoints.get(s, newest.id)
        row.bytes = disk_path(files, newest.key).stat().st_size
        row.sha256 = files.put_bytes(newest.key, files.read_bytes(newest.key)).sha256


def test_a_missing_data_set_fails_the_job_without_a_retry(
    sqlite_settings: Settings, sqlite_db: Database, run: RunJob
) -> None:
    with sqlite_db.write() as s:
        datasets.register(s, DatasetInfo(name="gone", num_images=100, channels=1, height=28, width=28))
    job = submit(sqlite_db, **tiny(dataset="gone"))
    run(sqlite_settings).result()
    ended = job_of(sqlite_db, job.id)
    assert (ended.status, ended.attempt) == ("failed", 1) and ended.error is not None
    assert ended.error["code"] == "dataset_invalid" and "'gone'" in ended.error["message"]


def test_the_spin_count_of_a_trainer_is_low_unless_the_operator_sets_it(sqlite_settings: Settings) -> None:
    assert trainer_environment(sqlite_settings, {})["GOMP_SPINCOUNT"] == "10000"
    assert trainer_environment(sqlite_settings, {"GOMP_SPINCOUNT": "5"})["GOMP_SPINCOUNT"] == "5"
