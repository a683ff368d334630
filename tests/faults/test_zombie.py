"""A zombie: an attempt that is frozen past its lease and continues when another has its job. It writes nothing.

`test_directed.py` tests each of its writes alone, many times.
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
from tests.faults.attempts import check_same_as_undisturbed, claim, expire, finish, forked_trainer, freeze
from tests.jobs.helpers import submit
from tests.worker.helpers import events_of, has_trained, job_of, tiny, trainer_pids, until
from tests.worker.pausing import PausingTrainer

# It records its steps with each preview, every 50 steps, so it can be frozen early.
BODY: Final = tiny(total_steps=600, checkpoints={"every_steps": 100}, previews={"every_steps": 50, "per_class": 1})
_SUPERVISOR: Final = """
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
def test_a_frozen_attempt_writes_nothing_after_its_lease(settings: Settings, db: Database, tmp_path: Path) -> None:
    long_lease = settings.model_copy(update={"lease_seconds": 60})
    job = submit(db, **BODY)
    pausing = PausingTrainer(long_lease)
    with _supervisor(pausing.settings, tmp_path / "zombie.log") as zombie:
        trainer = pausing.pause_when(has_trained(db, job.id), job.id)
        freeze(long_lease, job.id, zombie.pid)
        expire(db, job.id)
        sweeper.sweep_once(db, long_lease)
        released = job_of(db, job.id)
        assert (released.status, released.crashes) == ("queued", 1)

        second = claim(db, "its successor")
        with forked_trainer(long_lease, second) as successor:
            until(lambda: job_of(db, job.id).latest_metrics != released.latest_metrics)
            os.kill(trainer, signal.SIGCONT)
            until(lambda: trainer_pids(job.id) == [])
            os.kill(zombie.pid, signal.SIGCONT)
            assert (zombie.wait(timeout=120), successor.wait()) == (0, 0)

    assert '"returncode": 75' in (tmp_path / "zombie.log").read_text(), "the trainer was fenced and ended itself"
    finish(db, second)
    assert [e for e in events_of(db, job.id) if e.attempt == 1 and e.seq > released.event_seq] == []
    with db.read() as s:
        outcomes = [s.get_one(Attempt, (job.id, number)).outcome for number in (1, 2)]
    assert outcomes == ["worker_lost", Status.SUCCEEDED]
    check_same_as_undisturbed(db, job.id, BODY)


@contextmanager
def _supervisor(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that runs one job and whose trainer dies with it."""
    environment = {**os.environ, **settings.environment()}
    with log.open("wb") as out:
        process = spawn([sys.executable, "-c", _SUPERVISOR], env=environment, stdout=out, stderr=out)
        try:
            yield process
        finally:
            kill(process)
            process.wait()
