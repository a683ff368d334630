"""Requests about a running job: pause, resume, cancel; and the limit of its running time."""

from __future__ import annotations

import numpy as np
import pytest

from jobs import leases
from jobs.db import Database
from jobs.runtime.settings import Settings
from jobs.status import Status
from jobs.store import checkpoints, jobs, metrics
from tests.jobs.helpers import submit
from tests.worker.conftest import RunJob
from tests.worker.helpers import endless, events_of, has_trained, job_of, tiny, trainer_pids, uninterrupted, until
from tests.worker.pausing import PausingTrainer


def saved_steps(db: Database, job_id: str) -> list[int]:
    with db.read() as s:
        return [row.step for row in checkpoints.page(s, job_id, limit=100).data]


def test_a_paused_job_releases_its_device_and_resumes_from_its_checkpoint(
    settings: Settings, db: Database, run: RunJob
) -> None:
    body = tiny(total_steps=1500, checkpoints={"every_steps": 1500}, previews={"every_steps": 1500})
    job = submit(db, **body)
    pausing = PausingTrainer(settings)
    running = run(pausing.settings)
    pausing.pause_when(has_trained(db, job.id), job.id)
    with db.write() as s:
        jobs.request_pause(s, job.id)
    pausing.resume(job.id)
    running.result()
    paused = job_of(db, job.id)
    assert (paused.status, paused.crashes, paused.lease_until, paused.lease_owner) == ("paused", 0, None, None)
    assert saved_steps(db, job.id) == [paused.step] and 0 < paused.step < 1500
    assert trainer_pids(job.id) == []
    assert run(settings).result() is None, "no worker claims a paused job"

    with db.write() as s:
        jobs.resume(s, job.id)
    run(settings).result()
    ended = job_of(db, job.id)
    assert (ended.status, ended.attempt, ended.step) == ("succeeded", 2, 1500)
    with db.read() as s:
        curves = metrics.series(s, job.id, ["loss_d", "loss_g"])
    for name, values in uninterrupted(body).curves.items():
        if name in curves:
            np.testing.assert_array_equal(curves[name].values, values, err_msg=name)
    statuses = [event.data["status"] for event in events_of(db, job.id) if event.type == "job.status"]
    assert statuses == ["queued", "running", "paused", "queued", "running", "succeeded"]


def test_a_cancel_takes_precedence_over_a_pause(sqlite_settings: Settings, sqlite_db: Database, run: RunJob) -> None:
    job = submit(sqlite_db, **endless())
    running = run(sqlite_settings)
    until(has_trained(sqlite_db, job.id))
    with sqlite_db.write() as s:
        jobs.request_pause(s, job.id)
        jobs.request_cancel(s, job.id)
    running.result()
    assert job_of(sqlite_db, job.id).status == "cancelled"


def test_a_job_past_its_max_runtime_fails_and_keeps_a_checkpoint(
    sqlite_settings: Settings, sqlite_db: Database, run: RunJob
) -> None:
    job = submit(sqlite_db, **endless(max_runtime_seconds=6))
    run(sqlite_settings).result()
    ended = job_of(sqlite_db, job.id)
    assert ended.status == "failed" and ended.error is not None
    assert ended.error["code"] == "max_runtime_exceeded" and "6 s" in ended.error["message"]
    assert ended.error["hint"] and ended.error["retryable"]
    assert 6 <= ended.ran_seconds < 60
    assert saved_steps(sqlite_db, job.id) in ([ended.step], []), "its last step is saved, unless it has made none"


@pytest.mark.parametrize(
    ("requested", "status"), [("pause", Status.PAUSED), ("cancel", Status.CANCELLED), ("nothing", Status.QUEUED)]
)
def test_a_job_of_a_lost_worker_gets_the_requested_status(db: Database, requested: str, status: Status) -> None:
    job = submit(db)
    with db.write() as s:
        leases.claim(s, "w1", "cpu", 0, ttl=-1)
        if requested == "pause":
            jobs.request_pause(s, job.id)
        if requested == "cancel":
            jobs.request_cancel(s, job.id)
    with db.write() as s:
        assert leases.reap(s) == [job.id]
    assert job_of(db, job.id).status == status


def test_a_requested_cancel_replaces_the_failure_of_an_attempt(db: Database) -> None:
    job = submit(db)
    with db.write() as s:
        leases.claim(s, "w1", "cpu", 0, 60)
        jobs.request_cancel(s, job.id)
        leases.finish(s, job.id, 1, Status.FAILED, {"code": "diverged", "message": "No.", "retryable": False})
    ended = job_of(db, job.id)
    assert (ended.status, ended.error) == ("cancelled", None)


def test_a_pause_that_is_withdrawn_has_no_effect(db: Database) -> None:
    job = submit(db)
    with db.write() as s:
        leases.claim(s, "w1", "cpu", 0, 60)
        jobs.request_pause(s, job.id)
        jobs.resume(s, job.id)
        leases.release(s, job.id, 1, crash=False, reason={"code": "paused", "message": "It continues."})
    assert job_of(db, job.id).status == "queued"
