"""A retried job resumes from the old job's checkpoint, and its results equal those of an uninterrupted run."""

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
from tests.worker.helpers import events_of, job_of, uninterrupted, with_evaluations
from tests.worker.pausing import PausingTrainer


def retry(settings: Settings, db: Database, job_id: str) -> Job:
    """Retry the job, as POST /v1/jobs/{id}/retry does. Return the new job."""
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
    """Kill the trainer once it is past a checkpoint at or after `at_step`; the job then fails."""
    pausing = PausingTrainer(settings)
    running = run(pausing.settings)

    def has_trained_past_it() -> bool:
        with db.read() as s:
            saved = checkpoints.newest_ready(s, job_id)
        # A checkpoint is written while training continues, so it may be registered later.
        return saved is not None and saved.step >= at_step and job_of(db, job_id).step > saved.step

    os.kill(pausing.pause_when(has_trained_past_it, job_id), signal.SIGKILL)
    running.result()
    assert job_of(db, job_id).status == "failed"


def test_a_retry_resumes_from_the_old_jobs_checkpoint_after_that_job_is_deleted(
    settings: Settings, db: Database, run: RunJob
) -> None:
    steps = 240
    body = with_evaluations(total_steps=steps, checkpoints={"every_steps": 40, "keep_last": 2}, max_attempts=1)
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
    assert resumed[0] == new.step, "it resumed from the checkpoint"
    wanted = uninterrupted(body)
    with db.read() as s:
        curves = metrics.series(s, new.id, metrics.names_of(s, new.id))
        found_evaluations = evaluations.page(s, new.id, limit=100).data
        best, chosen = evaluations.best(s, new.id), checkpoints.choose(s, new.id, "best")
        drawn = [row.step for row in previews.listing(s, new.id)]
    for name, values in wanted.curves.items():
        np.testing.assert_array_equal(curves[name].steps, np.arange(1, steps + 1))
        np.testing.assert_array_equal(curves[name].values, values, err_msg=name)
    assert [row.step for row in found_evaluations][::-1] == [found.step for found in wanted.evaluations]
    assert [row.metrics["fcd"] for row in found_evaluations][::-1] == [
        found.metrics["fcd"] for found in wanted.evaluations
    ]
    assert best is not None and best.step == chosen.step == wanted.best_step
    assert drawn == [0, 50, 100, 150, 200, 240]
    assert ended.health["verdict"] == wanted.verdict
