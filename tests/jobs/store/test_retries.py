"""Tests of retries: what the new job takes over, and that it owns it. With real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import update

from jobs import leases
from jobs.db import Database
from jobs.errors import InvalidTransitionError, JobNotFoundError
from jobs.ids import new_id
from jobs.models import Checkpoint, Job
from jobs.status import Status
from jobs.storage import keys
from jobs.storage.disk import DiskStorage
from jobs.store import checkpoints, evaluations, events, jobs, metrics, outbox, previews, retries
from tests.jobs.helpers import VERSION_1, disk_path, submit

ERROR: dict[str, Any] = {"code": "internal", "message": "It broke.", "retryable": True, "step": 30, "hint": None}


class OldJob:
    """A job that is trained through the functions of the record."""

    def __init__(self, db: Database, folder: Path, **body: Any) -> None:
        self.db, self.artifacts = db, DiskStorage(folder)
        self.id = submit(db, **body).id
        self.attempt = 0
        self.claim(resumed_from=0)

    def claim(self, resumed_from: int) -> None:
        with self.db.write() as s:
            if self.attempt:
                leases.release(s, self.id, self.attempt, crash=False, reason={"code": "drained", "message": ""})
            job = leases.claim(s, "w", "cpu", 0, 60)
            assert job is not None and job.id == self.id
            self.attempt = job.attempt
            leases.record_resume(s, self.id, self.attempt, resumed_from)

    def train(self, first: int, last: int, value: float) -> None:
        values = np.full((last - first + 1, 2), value, np.float32)
        with self.db.write() as s:
            leases.fence(s, self.id, self.attempt, 60, step=last, images_seen=last * 10)
            metrics.append(s, self.id, self.attempt, first, ["loss_d", "loss_g"], values)

    def save(self, step: int, *, best: bool = False) -> Checkpoint:
        identity = (self.id, step, self.attempt)
        file = self.artifacts.put_bytes(keys.checkpoint(*identity), b"all of %d" % step)
        weights = self.artifacts.put_bytes(keys.weights(*identity), b"weights of %d" % step)
        with self.db.write() as s:
            return checkpoints.register(
                s, self.id, self.attempt, step, {"loss_d": step / 10}, file, weights, best=best
            )

    def evaluate(self, step: int, fcd: float, *, best: bool) -> None:
        with self.db.write() as s:
            evaluations.register(s, self.id, self.attempt, step, {"fcd": fcd}, {"images": 5}, best_so_far=best)

    def draw(self, step: int) -> None:
        file = self.artifacts.put_bytes(keys.preview(self.id, step, self.attempt), b"picture of %d" % step)
        with self.db.write() as s:
            previews.register(s, self.id, self.attempt, step, file)

    def end(self, status: Status = Status.FAILED) -> None:
        with self.db.write() as s:
            leases.finish(s, self.id, self.attempt, status, ERROR if status is Status.FAILED else None)

    def retry(self) -> Job:
        new = new_id("job")
        with self.db.read() as s:
            source = retries.find_source(s, self.id)
        copied = retries.copy_files(self.artifacts, source, new)
        with self.db.write() as s:
            return retries.create(s, self.id, new, copied)


@pytest.fixture
def old(db: Database, tmp_path: Path) -> OldJob:
    """Return a job that fails at step 35, and whose second attempt resumed from step 20."""
    job = OldJob(db, tmp_path / "files", total_steps=100, name="clothes", labels={"team": "vision"})
    job.draw(0)
    job.evaluate(0, 90.0, best=False)
    job.train(1, 20, 1.0)
    job.evaluate(10, 5.0, best=True)
    job.save(10, best=True)
    job.save(20)
    job.train(21, 28, 2.0)  # superseded
    job.evaluate(25, 3.0, best=True)  # superseded
    job.claim(resumed_from=20)
    job.train(21, 30, 3.0)
    job.draw(25)
    job.evaluate(25, 6.0, best=False)
    job.save(30)
    job.train(31, 35, 4.0)
    job.evaluate(35, 1.0, best=True)
    job.draw(35)
    return job


def _steps(db: Database, job_id: str) -> list[tuple[int, int, bool]]:
    with db.read() as s:
        return [(row.step, row.attempt, row.is_best) for row in checkpoints.page(s, job_id, limit=50).data]


def test_a_retry_starts_from_the_last_intact_checkpoint(old: OldJob, db: Database) -> None:
    old.end()
    with db.read() as s:
        before = {c.key: getattr(jobs.get(s, old.id), c.key) for c in Job.__table__.columns}
    new = old.retry()
    assert (new.status, new.retry_of, new.attempt, new.step, new.images_seen) == ("queued", old.id, 0, 30, 300)
    assert (new.name, new.labels, new.latest_metrics) == ("clothes", {"team": "vision"}, {"loss_d": 3.0})
    assert new.error is None and new.started_at is None and new.crashes == 0
    assert _steps(db, new.id) == [(30, 0, False), (10, 0, True)]
    with db.read() as s:
        curves = metrics.series(s, new.id, ["loss_d", "fcd"])
        evaluated = evaluations.page(s, new.id, limit=9).data
        assert evaluations.best(s, new.id) == (10, 0) and checkpoints.choose(s, new.id, "best").step == 10
        assert [row.step for row in previews.listing(s, new.id)] == [0, 25]
        assert new.id in [hint.job_id for hint in outbox.fetch_due(s, 10)]
        assert before == {c.key: getattr(jobs.get(s, old.id), c.key) for c in Job.__table__.columns}
    assert curves["loss_d"].steps.tolist() == [*range(1, 31)]
    assert curves["loss_d"].values.tolist() == [1.0] * 20 + [3.0] * 10
    assert curves["fcd"].steps.tolist() == [0, 10, 25] and curves["fcd"].values.tolist() == [90.0, 5.0, 6.0]
    assert [(row.step, row.metrics["fcd"], row.best_so_far) for row in evaluated] == [
        (25, 6.0, False),
        (10, 5.0, True),
        (0, 90.0, False),
    ]
    assert evaluated[0].details == {"images": 5}


def test_a_retry_outlives_the_old_job(old: OldJob, db: Database) -> None:
    old.end(Status.CANCELLED)
    new = old.retry()
    with db.write() as s:
        jobs.delete(s, old.id)
    old.artifacts.delete_prefix(old.id)
    with db.read() as s:
        rows, drawn = checkpoints.page(s, new.id, limit=9).data, previews.listing(s, new.id)
    assert len(rows) == 2 and len(drawn) == 2
    for row in rows:
        old.artifacts.verify(row.key, row.bytes, row.sha256)
        assert old.artifacts.read_bytes(row.key) == b"all of %d" % row.step
        old.artifacts.verify(row.weights_key, row.weights_bytes, row.weights_sha256)
    assert [old.artifacts.read_bytes(row.key) for row in drawn] == [b"picture of 0", b"picture of 25"]


def test_points_past_the_start_of_the_retrys_attempt_are_superseded(old: OldJob, db: Database) -> None:
    old.end()
    new = old.retry()
    with db.write() as s:
        assert leases.claim(s, "w", "cpu", 0, 60) is not None
        leases.record_resume(s, new.id, 1, 10)
        metrics.append(s, new.id, 1, 11, ["loss_d"], np.full((2, 1), 9.0, np.float32))
    with db.read() as s:
        curve = metrics.series(s, new.id, ["loss_d"])["loss_d"]
        assert evaluations.latest(s, new.id).step == 10  # type: ignore[union-attr]
    assert curve.values.tolist() == [1.0] * 10 + [9.0] * 2


def test_a_retry_of_a_retry_takes_over_the_same(old: OldJob, db: Database) -> None:
    old.end()
    second = old.retry()
    with db.write() as s:
        jobs.request_cancel(s, second.id)
    old.id = second.id
    third = old.retry()
    assert third.step == 30 and third.retry_of == second.id and _steps(db, third.id) == _steps(db, second.id)
    with db.read() as s:
        curve = metrics.series(s, third.id, ["loss_g"])["loss_g"]
    assert curve.values.tolist() == [1.0] * 20 + [3.0] * 10


@pytest.mark.parametrize("weights", [True, False])
def test_a_damaged_checkpoint_is_skipped_and_reported(old: OldJob, db: Database, weights: bool) -> None:
    old.end()
    with db.read() as s:
        row = checkpoints.newest_ready(s, old.id)
    assert row is not None
    disk_path(old.artifacts, row.weights_key if weights else row.key).write_bytes(b"x")
    new = old.retry()
    assert new.step == 20 and _steps(db, new.id) == [(20, 0, False), (10, 0, True)]
    with db.read() as s:
        events_of_bad = [e.data for e in events.page(s, new.id, 0, 50) if e.type == "checkpoint.bad"]
        assert [e.type for e in events.page(s, old.id, 0, 50)].count("checkpoint.bad") == 0
        assert checkpoints.get(s, row.id).state == "ready", "the old job never changes"
    assert events_of_bad[0]["step"] == 30 and "not what was written" in events_of_bad[0]["reason"]


def test_a_retry_without_an_intact_checkpoint_starts_from_scratch(old: OldJob, db: Database) -> None:
    old.end()
    with db.read() as s:
        rows = checkpoints.page(s, old.id, limit=9).data
    for row in rows:
        old.artifacts.delete(row.key)
    new = old.retry()
    assert (new.step, new.images_seen, new.retry_of) == (0, 0, old.id) and _steps(db, new.id) == []
    with db.read() as s:
        assert metrics.names_of(s, new.id) == [] and evaluations.best(s, new.id) is None


def test_a_lost_best_checkpoint_is_not_replaced(old: OldJob, db: Database) -> None:
    old.end()
    with db.read() as s:
        best = checkpoints.choose(s, old.id, "best")
    old.artifacts.delete(best.key)
    assert _steps(db, old.retry().id) == [(30, 0, False)]


def test_a_best_checkpoint_that_is_the_last_is_taken_over_once(old: OldJob, db: Database) -> None:
    old.save(35, best=True)
    old.end()
    assert _steps(db, old.retry().id) == [(35, 0, True)]


def test_checkpoints_of_an_older_spec_version_are_not_used(old: OldJob, db: Database) -> None:
    with db.write() as s:
        s.execute(update(Job).where(Job.id == old.id).values(spec=VERSION_1))
    old.end()
    new = old.retry()
    assert new.step == 0 and new.spec["spec_version"] > 1 and new.spec["evaluation"]["enabled"] is False
    assert new.spec["optimizers"]["g"]["learning_rate"] == 0.0002


@pytest.mark.parametrize("status", ["running", "succeeded"])
def test_only_failed_and_cancelled_jobs_are_retried(old: OldJob, db: Database, status: str) -> None:
    if status == "succeeded":
        old.end(Status.SUCCEEDED)
    with db.read() as s, pytest.raises(InvalidTransitionError, match="does not allow 'retry'"):
        retries.find_source(s, old.id)
    with pytest.raises(InvalidTransitionError), db.write() as s:
        retries.create(s, old.id, new_id("job"), retries.CopiedFiles())


def test_a_job_deleted_in_the_meantime_is_not_found(old: OldJob, db: Database) -> None:
    old.end()
    with db.read() as s:
        source = retries.find_source(s, old.id)
    copied = retries.copy_files(old.artifacts, source, new := new_id("job"))
    with db.write() as s:
        jobs.delete(s, old.id)
    with pytest.raises(JobNotFoundError), db.write() as s:
        retries.create(s, old.id, new, copied)


def test_a_long_curve_is_stored_in_rows_of_limited_length(db: Database, tmp_path: Path) -> None:
    job = OldJob(db, tmp_path, total_steps=30_000)
    values = np.arange(25_000, dtype=np.float32)
    values[[7, 9]] = np.nan, np.inf
    with db.write() as s:
        metrics.append(s, job.id, 1, 1, ["loss_d"], values[:, None])
    job.save(24_000)
    job.end()
    new = job.retry()
    with db.read() as s:
        curve = metrics.series(s, new.id, ["loss_d"])["loss_d"]
        part = metrics.series(s, new.id, ["loss_d"], 9_999, 20_002)["loss_d"]
    assert curve.steps.tolist() == [*range(1, 24_001)]
    np.testing.assert_array_equal(curve.values, values[:24_000])
    np.testing.assert_array_equal(part.values, values[9_998:20_002])
