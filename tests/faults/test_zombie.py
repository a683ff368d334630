"""The zombie: an attempt that is frozen past its lease and wakes when its job is another's. Nothing of it counts.

Each of its writes alone, many times over, is `test_directed.py`'s.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from jobs.db import Database
from jobs.models import Attempt
from jobs.relay import sweeper
from jobs.runtime.process import kill, spawn
from jobs.runtime.settings import Settings
from jobs.status import Status
from tests.faults.attempts import claim, expire, finish, forked, freeze, same_as_undisturbed
from tests.jobs.helpers import submit
from tests.worker.helpers import events_of, has_trained, job_of, tiny, trainer_pids, until
from tests.worker.pausing import PausingTrainer

# Told after each fifty steps, when a picture is due: it can be frozen early on.
BODY: Final = tiny(total_steps=600, checkpoints={"every_steps": 100}, previews={"every_steps": 50, "per_class": 1})
_CARRY: Final = """
import os
from jobs.db import Database
from jobs.runtime.startup import begin
from worker.sandbox import trainer_environment
from worker.supervise import Identity, run_one_job
from worker.trainer_process import ForkServer
settings = begin("worker")
fork_server = ForkServer("the-zombies-worker-has-a-long-name", trainer_environment(settings, os.environ))
run_one_job(settings, Database(settings.database), Identity("the zombie", "cpu", 0), fork_server)
"""


@pytest.mark.postgres
@pytest.mark.parametrize("settings", ["postgres"], indirect=True)
def test_a_frozen_attempt_that_wakes_writes_nothing(settings: Settings, db: Database, tmp_path: Path) -> None:
    patient = settings.model_copy(update={"lease_seconds": 60})
    job = submit(db, **BODY)
    pausing = PausingTrainer(patient)
    with _supervisor(pausing.settings, tmp_path / "zombie.log") as zombie:
        trainer = pausing.pause_when(has_trained(db, job.id), job.id)
        freeze(patient, job.id, zombie.pid)
        expire(db, job.id)
        sweeper.sweep_once(db, patient)
        given_back = job_of(db, job.id)
        assert (given_back.status, given_back.crashes) == ("queued", 1)

        second = claim(db, "its successor")
        with forked(patient, second) as successor:
            until(lambda: job_of(db, job.id).latest_metrics != given_back.latest_metrics)
            os.kill(trainer, signal.SIGCONT)
            until(lambda: trainer_pids(job.id) == [])
            os.kill(zombie.pid, signal.SIGCONT)
            assert (zombie.wait(timeout=120), successor.wait()) == (0, 0)

    assert '"returncode": 75' in (tmp_path / "zombie.log").read_text(), "the trainer was refused, and ended itself"
    finish(db, second)
    assert [e for e in events_of(db, job.id) if e.attempt == 1 and e.seq > given_back.event_seq] == []
    with db.read() as s:
        outcomes = [s.get_one(Attempt, (job.id, number)).outcome for number in (1, 2)]
    assert outcomes == ["worker_lost", Status.SUCCEEDED]
    same_as_undisturbed(db, job.id, BODY)


@contextmanager
def _supervisor(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that runs one job and whose trainer dies with it."""
    environment = {**os.environ, **settings.environment()}
    with log.open("wb") as out:
        process = spawn([sys.executable, "-c", _CARRY], env=environment, stdout=out, stderr=out)
        try:
            yield process
        finally:
            kill(process)
            process.wait()
