"""A retried job goes on from what the old one had learnt, and ends as an undisturbed one does."""

from __future__ import annotations

import os
import signal

import numpy as np

from jobs.db import Database
from jobs.ids import new_id
from jobs.models import Job
from jobs.runtime.settings import Settings
from jobs.store import checkpoints, evaluations, jobs, metrics, previews, retries
from tests.jobs.helpers import files_of, submit
from tests.worker.conftest import RunJob
from tests.worker.halts import Halting
from tests.worker.helpers import events_of, job_of, judged, uninterrupted


def retry(settings: Settings, db: Database, job_id: str) -> Job:
    """As POST /v1/jobs/{id}/retry does."""
    artifacts, new = files_of(settings), new_id("job")
    with db.read() as s:
        left = retries.find_source(s, job_id)
    inherited = retries.copy_files(artifacts, left, new)
    with db.write() as s:
        return retries.create(s, job_id, new, inherited)


def delete(settings: Settings, db: Database, job_id: str) -> None:
    with db.write() as s:
        jobs.delete(s, job_id)
    files_of(settings).delete_prefix(job_id)


def crash(settings: Settings, db: Database, run: RunJob, job_id: str, *, at_step: int) -> None:
    """Let the job train past a checkpoint, then end it with its only attempt."""
    halting = Halting(settings)
    running = run(halting.settings)

    def has_come_so_far() -> bool:
        with db.read() as s:
            saved = checkpoints.newest_ready(s, job_id)
        # It is written while training goes on, and so may come later.
        return saved is not None and saved.step >= at_step and job_of(db, job_id).step > saved.step

    os.kill(halting.when(has_come_so_far, job_id), signal.SIGKILL)
    running.result()
    assert job_of(db, job_id).status == "failed"


def test_a_retry_goes_on_where_the_old_job_was_even_when_that_is_deleted(
    settings: Settings, db: Database, run: RunJob
) -> None:
    steps = 240
    body = judged(total_steps=steps, checkpoints={"every_steps": 40, "keep_last": 2}, max_attempts=1)
    body["evaluation"] = {"every_steps": 60, "images": 100}
    old = submit(db, **body)
    crash(settings, db, run, old.id, at_step=80)
    new = retry(settings, db, old.id)
    assert (new.status, new.retry_of, new.attempt, new.crashes) == ("queued", old.id, 0, 0)
    assert new.step >= 80 and new.images_seen == new.step * 8
    delete(settings, db, old.id)

    assert run(settings).result() == new.id
    ended = job_of(db, new.id)
    assert (ended.status, ended.attempt, ended.step, ended.images_seen) == ("succeeded", 1, steps, steps * 8)
    resumed = [e.data["step"] for e in events_of(db, new.id) if e.type == "job.progress"]
    assert resumed[0] == new.step, "it went on from the checkpoint"
    told = uninterrupted(body)
    with db.read() as s:
        curves = metrics.series(s, new.id, metrics.names_of(s, new.id))
        judgements = evaluations.page(s, new.id, limit=100).data
        best, chosen = evaluations.best(s, new.id), checkpoints.choose(s, new.id, "best")
        drawn = [row.step for row in previews.listing(s, new.id)]
    for name, values in told.curves.items():
        np.testing.assert_array_equal(curves[name].steps, np.arange(1, steps + 1))
        np.testing.assert_array_equal(curves[name].values, values, err_msg=name)
    assert [row.step for row in judgements][::-1] == [found.step for found in told.evaluations]
    assert [row.metrics["fcd"] for row in judgements][::-1] == [found.metrics["fcd"] for found in told.evaluations]
    assert best is not None and best.step == chosen.step == told.best_step
    assert drawn == [0, 50, 100, 150, 200, 240]
    assert ended.health["verdict"] == told.verdict
