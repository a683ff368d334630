"""A trainer that hangs while its supervisor works."""

from __future__ import annotations

from jobs.db import Database
from jobs.runtime.settings import Settings
from tests.faults.attempts import check_same_as_undisturbed, claim, run_attempt
from tests.jobs.helpers import submit
from tests.worker.conftest import RunJob
from tests.worker.helpers import has_trained, job_of, tiny, trainer_pids
from tests.worker.pausing import PausingTrainer


def test_a_stalled_trainer_is_ended_and_the_next_attempt_resumes(
    sqlite_settings: Settings, sqlite_db: Database, run: RunJob
) -> None:
    body = tiny()
    job = submit(sqlite_db, **body)
    # Longer than a start on a slow machine. The lease is longer still, so that only the trainer is late.
    pausing = PausingTrainer(sqlite_settings.model_copy(update={"stall_seconds": 20.0, "lease_seconds": 60.0}))
    running = run(pausing.settings)
    pausing.pause_when(has_trained(sqlite_db, job.id), job.id)
    running.result()

    released = job_of(sqlite_db, job.id)
    assert (released.status, released.crashes) == ("queued", 1) and trainer_pids(job.id) == []
    assert released.status_reason is not None and released.status_reason["code"] == "stalled"
    assert "no progress for 20 s" in released.status_reason["message"]
    assert run_attempt(sqlite_settings, sqlite_db, claim(sqlite_db)) == 0
    check_same_as_undisturbed(sqlite_db, job.id, body)
