"""Tests of what a trainer writes (curves, previews, checkpoints), of what counts afterwards, and of workers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sqlalchemy import update

from jobs import leases
from jobs.db import Database
from jobs.errors import (
    CheckpointNotFoundError,
    NoCheckpointError,
    PreviewNotFoundError,
    UnknownMetricError,
    WorkerNotFoundError,
)
from jobs.models import Checkpoint, Worker
from jobs.status import Status
from jobs.storage import StoredFile
from jobs.store import checkpoints, jobs, metrics, previews, workers
from tests.jobs.helpers import submit

FILE = StoredFile("job_x/f", 3, "0" * 64)


def _claim(db: Database) -> str:
    with db.write() as s:
        job = leases.claim(s, "w1", "cpu", 0, 30)
        assert job is not None
        return job.id


def _tick(db: Database, job_id: str, attempt: int, first: int, values: list[float]) -> None:
    with db.write() as s:
        leases.fence(s, job_id, attempt, 30, step=first + len(values) - 1)
        rows = np.array([[v, -v] for v in values], dtype=np.float32)
        metrics.append(s, job_id, attempt, first, ("loss_d", "loss_g"), rows)


def _resume(db: Database, job_id: str, attempt: int, step: int) -> None:
    with db.write() as s:
        leases.release(s, job_id, attempt, crash=False, reason={"code": "drained", "message": ""})
    _claim(db)
    with db.write() as s:
        leases.record_resume(s, job_id, attempt + 1, step)


def _save(db: Database, job_id: str, attempt: int, step: int) -> Checkpoint:
    with db.write() as s:
        return checkpoints.register(s, job_id, attempt, step, {}, FILE, FILE)


def test_a_curve_is_read_as_it_was_written(db: Database) -> None:
    submit(db)
    job_id = _claim(db)
    _tick(db, job_id, 1, 1, [0.1, 0.2])
    _tick(db, job_id, 1, 3, [0.3])
    with db.read() as s:
        curves = metrics.series(s, job_id, ["loss_g", "loss_d"])
        part = metrics.series(s, job_id, ["loss_d"], from_step=2, to_step=2)["loss_d"]
    assert curves["loss_d"].steps.tolist() == [1, 2, 3]
    assert curves["loss_g"].values.tolist() == np.array([-0.1, -0.2, -0.3], np.float32).tolist()
    assert (part.steps.tolist(), part.values.tolist()) == ([2], np.array([0.2], np.float32).tolist())


def test_points_past_the_start_of_a_successor_are_superseded(db: Database) -> None:
    submit(db)
    job_id = _claim(db)
    _tick(db, job_id, 1, 1, [1, 1, 1, 1])
    _resume(db, job_id, 1, step=2)
    _tick(db, job_id, 2, 3, [2])
    with db.read() as s:
        curve = metrics.series(s, job_id, ["loss_d"])["loss_d"]
    assert curve.steps.tolist() == [1, 2, 3] and curve.values.tolist() == [1, 1, 2]
    _resume(db, job_id, 2, step=0)
    _tick(db, job_id, 3, 1, [3])
    with db.read() as s:
        curve = metrics.series(s, job_id, ["loss_d"])["loss_d"]
    assert curve.steps.tolist() == [1] and curve.values.tolist() == [3]


def test_a_point_before_the_first_step_counts_once(db: Database) -> None:
    submit(db)
    job_id = _claim(db)
    _tick(db, job_id, 1, 0, [5.0])
    _tick(db, job_id, 1, 1, [1.0, 1.0])
    _resume(db, job_id, 1, step=0)
    _tick(db, job_id, 2, 0, [6.0])
    _tick(db, job_id, 2, 1, [2.0])
    with db.read() as s:
        curve = metrics.series(s, job_id, ["loss_d"])["loss_d"]
    assert curve.steps.tolist() == [0, 1] and curve.values.tolist() == [6.0, 2.0]


def test_a_summary_counts_non_finite_values_and_ignores_them(db: Database) -> None:
    submit(db)
    job_id = _claim(db)
    _tick(db, job_id, 1, 1, [0.5, 0.1, math.nan, math.inf])
    with db.read() as s:
        (d, g) = metrics.summaries(s, job_id)
    assert (d.name, g.name) == ("loss_d", "loss_g")
    assert (d.last, d.last_step, d.min, d.max, d.count, d.nonfinite_count) == (0.1, 4, 0.1, 0.5, 4, 2)


def test_an_unknown_metric_error_lists_the_known_ones(db: Database) -> None:
    submit(db)
    job_id = _claim(db)
    _tick(db, job_id, 1, 1, [1])
    with db.read() as s, pytest.raises(UnknownMetricError) as caught:
        metrics.series(s, job_id, ["loss"])
    assert caught.value.valid == ["loss_d", "loss_g"]


def test_a_curve_without_points_is_empty_and_not_unknown(db: Database) -> None:
    job = submit(db)
    with db.read() as s:
        assert len(metrics.series(s, job.id, ["loss_d"])["loss_d"]) == 0
        assert metrics.summaries(s, job.id) == []


def test_previews_of_a_lost_attempt_are_superseded_too(db: Database) -> None:
    submit(db)
    job_id = _claim(db)
    with db.write() as s:
        for step in (0, 2, 4):
            previews.register(s, job_id, 1, step, FILE)
    _resume(db, job_id, 1, step=2)
    with db.write() as s:
        previews.register(s, job_id, 2, 6, FILE)
    with db.read() as s:
        assert [row.step for row in previews.listing(s, job_id)] == [0, 2, 6]
        assert previews.get(s, job_id, 2).attempt == 1
        with pytest.raises(PreviewNotFoundError):
            previews.get(s, job_id, 4)


def test_choosing_a_checkpoint(db: Database) -> None:
    submit(db)
    job_id = _claim(db)
    with db.read() as s, pytest.raises(NoCheckpointError, match="no checkpoint yet"):
        checkpoints.choose(s, job_id, None)
    first, last = _save(db, job_id, 1, 10), _save(db, job_id, 1, 20)
    with db.read() as s:
        assert checkpoints.choose(s, job_id, None).id == last.id
        assert checkpoints.choose(s, job_id, "last").id == last.id
        assert checkpoints.choose(s, job_id, first.id).id == first.id
        with pytest.raises(NoCheckpointError, match="evaluated"):
            checkpoints.choose(s, job_id, "best")
    with db.write() as s:
        s.get_one(Checkpoint, first.id).is_best = True
    with db.read() as s:
        assert checkpoints.choose(s, job_id, None).id == first.id
        assert checkpoints.choose(s, job_id, "best").id == first.id


def test_a_job_that_ended_without_a_checkpoint_has_its_own_message(db: Database) -> None:
    submit(db)
    job_id = _claim(db)
    with db.write() as s:
        jobs.request_cancel(s, job_id)
        leases.finish(s, job_id, 1, Status.CANCELLED)
    with db.read() as s, pytest.raises(NoCheckpointError, match="cancelled before its first checkpoint"):
        checkpoints.choose(s, job_id, None)


def test_another_jobs_checkpoint_is_not_found(db: Database) -> None:
    submit(db), submit(db)
    one, other = _claim(db), _claim(db)
    checkpoint = _save(db, one, 1, 10)
    with db.read() as s, pytest.raises(CheckpointNotFoundError):
        checkpoints.choose(s, other, checkpoint.id)


def test_retiring_keeps_the_newest_and_the_best(db: Database) -> None:
    submit(db)
    job_id = _claim(db)
    rows = [_save(db, job_id, 1, step) for step in (10, 20, 30, 40)]
    with db.write() as s:
        s.get_one(Checkpoint, rows[0].id).is_best = True
    with db.write() as s:
        assert [row.step for row in checkpoints.retire(s, job_id, keep_last=2)] == [20]
    with db.read() as s:
        assert [row.step for row in checkpoints.page(s, job_id, limit=10).data] == [40, 30, 10]
        with pytest.raises(CheckpointNotFoundError):
            checkpoints.get(s, rows[1].id)


def test_a_bad_checkpoint_is_not_resumed_from(db: Database) -> None:
    submit(db)
    job_id = _claim(db)
    good, bad = _save(db, job_id, 1, 10), _save(db, job_id, 1, 20)
    with db.write() as s:
        checkpoints.mark_bad(s, bad.id, "sha256 differs")
    with db.read() as s:
        newest = checkpoints.newest_ready(s, job_id)
        assert newest is not None and newest.id == good.id
        assert checkpoints.count(s, job_id) == 2


def test_a_worker_without_a_lease_counts_as_idle(db: Database) -> None:
    submit(db)
    with db.write() as s:
        workers.register(s, "w1", "host", [])
    job_id = _claim(db)
    with db.write() as s:
        workers.set_current_job(s, "w1", job_id)
        assert workers.count_idle(s, 60) == 0
        leases.release(s, job_id, 1, crash=True, reason={"code": "worker_lost", "message": ""})
        assert workers.count_idle(s, 60) == 1, "whatever it last reported"
    with db.write() as s:
        assert workers.heartbeat(s, "w1") and not workers.heartbeat(s, "nobody")


def test_a_worker_that_registers_again_keeps_its_current_job(db: Database) -> None:
    with db.write() as s:
        workers.register(s, "w1", "host", [])
        workers.set_current_job(s, "w1", "job_x")
    with db.write() as s:
        workers.register(s, "w1", "host", [])
    with db.read() as s:
        assert workers.page(s, limit=5).data[0].current_job_id == "job_x"


def test_a_worker_is_idle_busy_draining_or_lost(db: Database) -> None:
    with db.write() as s:
        assert workers.most_gpus(s, 60) is None
        workers.register(s, "w1", "host", [{"name": "cpu"}], gpus=1)
    with db.write() as s:
        assert workers.most_gpus(s, 60) == 1 and workers.count_idle(s, 60) == 1
        (row,) = workers.page(s, limit=5).data
        assert workers.status_of(row, row.heartbeat_at + 1, 60) == "idle"
        assert workers.status_of(row, row.heartbeat_at + 61, 60) == "lost"
        workers.set_current_job(s, "w1", "job_x")
    with db.write() as s:
        (row,) = workers.page(s, limit=5).data
        assert workers.status_of(row, row.heartbeat_at, 60) == "busy"
        workers.heartbeat(s, "w1", draining=True)
        s.refresh(row)
        assert workers.status_of(row, row.heartbeat_at, 60) == "draining" and workers.is_draining(s, "w1")
        workers.remove(s, "w1")
    with db.read() as s:
        assert workers.page(s, limit=5).data == []


def test_a_drained_worker_drains_for_good(db: Database) -> None:
    with db.write() as s:
        workers.register(s, "w1", "host", [])
    for _ in range(2):
        with db.write() as s:
            assert workers.request_drain(s, "w1").draining
    with db.write() as s:
        assert workers.heartbeat(s, "w1", draining=False) and workers.heartbeat(s, "w1")
        assert workers.is_draining(s, "w1") and workers.count_idle(s, 60) == 0
    with pytest.raises(WorkerNotFoundError, match="There is no worker 'w2'"), db.write() as s:
        workers.request_drain(s, "w2")


def test_workers_that_share_a_host_are_counted(db: Database) -> None:
    with db.write() as s:
        for name, host in (("wrk_a", "here"), ("wrk_b", "here"), ("wrk_c", "there"), ("wrk_d", "here")):
            workers.register(s, name, host, [])
        workers.heartbeat(s, "wrk_d", draining=True)
    with db.write() as s:
        assert workers.count_on_host(s, "wrk_a", 60) == 2, "a draining worker takes no job"
        assert workers.count_on_host(s, "wrk_c", 60) == 1
        assert workers.count_on_host(s, "wrk_unknown", 60) == 1
        s.execute(update(Worker).where(Worker.id == "wrk_b").values(heartbeat_at=Worker.heartbeat_at - 61))
        assert workers.count_on_host(s, "wrk_a", 60) == 1, "a silent worker may be lost"
