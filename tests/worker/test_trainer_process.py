"""A fork server and its trainers: one at a time, each a fresh process, none of which outlives those above it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from jobs import leases
from jobs.db import Database
from jobs.models import DEFAULT_TENANT
from jobs.runtime.settings import Settings
from tests.jobs.helpers import submit
from tests.worker.helpers import endless, until
from worker.exits import Exit
from worker.sandbox import trainer_environment
from worker.trainer_process import ForkServer

NAME: Final = "wrk_of_the_tests_one_of_several"


@pytest.fixture
def fork_server() -> Iterator[ForkServer]:
    made = ForkServer(NAME, trainer_environment(Settings(), os.environ))
    yield made
    made.close()


def test_a_trainer_is_a_process_of_its_own_whose_words_are_in_its_log(
    fork_server: ForkServer, sqlite_settings: Settings, tmp_path: Path
) -> None:
    # There is no such job: each of them ends at once, fenced.
    pids = set()
    for attempt in (1, 2):
        log = tmp_path / f"{attempt}.log"
        trainer = fork_server.start(sqlite_settings, DEFAULT_TENANT, "job_of_nobody", attempt, log)
        assert trainer.wait(timeout=120) == trainer.returncode == Exit.STOPPED
        assert "another attempt owns the job" in log.read_text()
        pids.add(trainer.pid)
    assert len(pids) == 2 and os.getpid() not in pids


def test_a_trainer_that_is_killed_before_it_is_born_takes_its_fork_server_along(
    fork_server: ForkServer, sqlite_settings: Settings, tmp_path: Path
) -> None:
    fork_server.warm_up()
    assert fork_server._process is not None
    os.kill(fork_server._process.pid, signal.SIGSTOP)  # it hears of the trainer, and makes none
    trainer = fork_server.start(sqlite_settings, DEFAULT_TENANT, "job_of_nobody", 1, tmp_path / "log")
    with pytest.raises(subprocess.TimeoutExpired):
        trainer.wait(timeout=0.01)
    assert trainer.end() == -signal.SIGKILL and trainer.pid is None
    again = fork_server.start(sqlite_settings, DEFAULT_TENANT, "job_of_nobody", 1, tmp_path / "log")
    assert again.wait(timeout=120) == Exit.STOPPED, "another fork server has taken its place"


def test_a_signal_that_comes_too_early_waits_for_the_trainer(
    fork_server: ForkServer, sqlite_settings: Settings, sqlite_db: Database, tmp_path: Path
) -> None:
    job = submit(sqlite_db, **endless())
    with sqlite_db.write() as s:
        leases.claim(s, "wrk", "cpu", 0, 60)
    trainer = fork_server.start(sqlite_settings, DEFAULT_TENANT, job.id, 1, tmp_path / "log")
    trainer.send_signal(signal.SIGKILL)
    assert trainer.wait(timeout=120) == -signal.SIGKILL and trainer.pid is not None


def test_a_fork_server_that_stands_still_cannot_keep_its_trainers_end_to_itself(
    fork_server: ForkServer, sqlite_settings: Settings, tmp_path: Path
) -> None:
    fork_server.warm_up()
    trainer = fork_server.start(sqlite_settings, DEFAULT_TENANT, "job_of_nobody", 1, tmp_path / "log")
    until(lambda: trainer.poll() is not None or trainer.pid is not None, 60)
    assert fork_server._process is not None and trainer.pid is not None
    os.kill(fork_server._process.pid, signal.SIGSTOP)
    trainer.send_signal(signal.SIGTERM)
    began = time.monotonic()
    trainer.end()
    assert time.monotonic() - began < 30 and not _lives(trainer.pid)


_KEEPER: Final = f"""
import os, sys, time
from pathlib import Path
from jobs.runtime.settings import load_settings
from worker.sandbox import trainer_environment
from worker.trainer_process import ForkServer
settings = load_settings()
fork_server = ForkServer("{NAME}", trainer_environment(settings, os.environ))
trainer = fork_server.start(settings, "default", sys.argv[1], 1, Path(sys.argv[2]))
while trainer.poll() is None and trainer.pid is None:
    time.sleep(0.01)
os.kill(trainer.pid, 19)
print(trainer.pid, fork_server._process.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("who", ["supervisor", "fork server"])
def test_no_trainer_outlives_those_above_it_not_even_a_frozen_one(
    who: str, sqlite_settings: Settings, sqlite_db: Database, tmp_path: Path
) -> None:
    # One that would not end by itself before it is frozen.
    job = submit(sqlite_db, **endless())
    with sqlite_db.write() as s:
        leases.claim(s, "wrk", "cpu", 0, 600)
    argv = [sys.executable, "-c", _KEEPER, job.id, str(tmp_path / "log")]
    environment = {**os.environ, **sqlite_settings.environment()}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as supervisor:
        assert supervisor.stdout is not None
        try:
            trainer, its_fork_server = (int(word) for word in supervisor.stdout.readline().split())
            os.kill(its_fork_server if who == "fork server" else supervisor.pid, signal.SIGKILL)
            until(lambda: not _lives(trainer) and not _lives(its_fork_server), 60)
        finally:
            supervisor.kill()


def test_a_warm_fork_server_needs_no_second_to_begin(
    fork_server: ForkServer, sqlite_settings: Settings, tmp_path: Path
) -> None:
    fork_server.start(sqlite_settings, DEFAULT_TENANT, "job_of_nobody", 1, tmp_path / "log").wait(timeout=120)
    cold = _seconds_of_a_cold_one(sqlite_settings)
    warm = []
    for attempt in range(2, 8):  # the best of them: a machine may stand still for seconds
        began = time.monotonic()
        fork_server.start(sqlite_settings, DEFAULT_TENANT, "job_of_nobody", attempt, tmp_path / "log").wait(
            timeout=120
        )
        warm.append(time.monotonic() - began)
    assert min(warm) < cold / 2


def _seconds_of_a_cold_one(settings: Settings) -> float:
    began = time.monotonic()
    argv = [sys.executable, "-m", "worker.trainer", "job_of_nobody", "1", DEFAULT_TENANT]
    subprocess.run(argv, env={**os.environ, **settings.environment()}, capture_output=True, check=False)
    return time.monotonic() - began


def _lives(pid: int) -> bool:
    """Whether it is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
