"""A trainer that hangs while its supervisor is well."""

from __future__ import annotations

from jobs.db import Database
from jobs.runtime.settings import Settings
from tests.faults.attempts import claim, play, same_as_undisturbed
from tests.jobs.helpers import submit
from tests.worker.conftest import RunJob
from tests.worker.helpers import has_trained, job_of, tiny, trainer_pids
from tests.worker.pausing import PausingTrainer


def test_a_silent_trainer_is_ended_and_another_goes_on(
    sqlite_settings: Settings, sqlite_db: Database, run: RunJob
) -> None:
    body = tiny()
    job = submit(sqlite_db, **body)
    # Longer than a start takes on a machine that stands still; the lease is longer yet: the trainer alone is silent.
    pausing = PausingTrainer(sqlite_settings.model_copy(update={"stall_seconds": 20.0, "lease_seconds": 60.0}))
    running = run(pausing.settings)
    pausing.pause_when(has_trained(sqlite_db, job.id), job.id)
    running.result()

    given_back = job_of(sqlite_db, job.id)
    assert (given_back.status, given_back.crashes) == ("queued", 1) and trainer_pids(job.id) == []
    assert given_back.status_reason is not None and given_back.status_reason["code"] == "stalled"
    assert "no progress for 20 s" in given_back.status_reason["message"]
    assert play(sqlite_settings, sqlite_db, claim(sqlite_db)) == 0
    same_as_undisturbed(sqlite_db, job.id, body)
