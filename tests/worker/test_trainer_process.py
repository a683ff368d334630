"""A fork server and its trainers: one at a time, each a new process that ends with its parents."""

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

WORKER_ID: Final = "wrk_of_the_tests_one_of_several"


@pytest.fixture
def fork_server() -> Iterator[ForkServer]:
    made = ForkServer(WORKER_ID, trainer_environment(Settings(), os.environ))
    yield made
    made.close()


def test_each_trainer_is_a_new_process_and_logs_to_its_file(
    fork_server: ForkServer, sqlite_settings: Settings, tmp_path: Path
) -> None:
    # The job does not exist, so each trainer is fenced and ends at once.
    pids = set()
    for attempt in (1, 2):
        log = tmp_path / f"{attempt}.log"
        trainer = fork_server.start(sqlite_settings, DEFAULT_TENANT, "job_of_nobody", attempt, log)
        assert trainer.wait(timeout=120) == trainer.returncode == Exit.STOPPED
        assert "another attempt owns the job" in log.read_text()
        pids.add(trainer.pid)
    assert len(pids) == 2 and os.getpid() not in pids


def test_a_kill_before_the_fork_also_kills_the_fork_server(
    fork_server: ForkServer, sqlite_settings: Settings, tmp_path: Path
) -> None:
    fork_server.warm_up()
    assert fork_server._process is not None
    os.kill(fork_server._process.pid, signal.SIGSTOP)  # it has the request in its pipe, and does not fork
    trainer = fork_server.start(sqlite_settings, DEFAULT_TENANT, "job_of_nobody", 1, tmp_path / "log")
    with pytest.raises(subprocess.TimeoutExpired):
        trainer.wait(timeout=0.01)
    assert trainer.end() == -signal.SIGKILL and trainer.pid is None
    again = fork_server.start(sqlite_settings, DEFAULT_TENANT, "job_of_nobody", 1, tmp_path / "log")
    assert again.wait(timeout=120) == Exit.STOPPED, "a new fork server has replaced it"


def test_a_signal_before_the_fork_is_sent_after_it(
    fork_server: ForkServer, sqlite_settings: Settings, sqlite_db: Database, tmp_path: Path
) -> None:
    job = submit(sqlite_db, **endless())
    with sqlite_db.write() as s:
        leases.claim(s, "wrk", "cpu", 0, 60)
    trainer = fork_server.start(sqlite_settings, DEFAULT_TENANT, job.id, 1, tmp_path / "log")
    trainer.send_signal(signal.SIGKILL)
    assert trainer.wait(timeout=120) == -signal.SIGKILL and trainer.pid is not None


def test_a_trainer_is_ended_while_its_fork_server_is_frozen(
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
    assert time.monotonic() - began < 30 and not _is_alive(trainer.pid)


_SUPERVISOR: Final = f"""
import os, sys, time
from pathlib import Path
from jobs.runtime.settings import load_settings
from worker.sandbox import trainer_environment
from worker.trainer_process import ForkServer
settings = load_settings()
fork_server = ForkServer("{WORKER_ID}", trainer_environment(settings, os.environ))
trainer = fork_server.start(settings, "default", sys.argv[1], 1, Path(sys.argv[2]))
while trainer.poll() is None and trainer.pid is None:
    time.sleep(0.01)
os.kill(trainer.pid, 19)
print(trainer.pid, fork_server._process.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("killed", ["supervisor", "fork server"])
def test_a_frozen_trainer_dies_with_its_supervisor_or_fork_server(
    killed: str, sqlite_settings: Settings, sqlite_db: Database, tmp_path: Path
) -> None:
    # A job without an end: its trainer must not end before it is frozen.
    job = submit(sqlite_db, **endless())
    with sqlite_db.write() as s:
        leases.claim(s, "wrk", "cpu", 0, 600)
    argv = [sys.executable, "-c", _SUPERVISOR, job.id, str(tmp_path / "log")]
    environment = {**os.environ, **sqlite_settings.environment()}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as supervisor:
        assert supervisor.stdout is not None
        try:
            trainer, fork_server_pid = (int(word) for word in supervisor.stdout.readline().split())
            os.kill(fork_server_pid if killed == "fork server" else supervisor.pid, signal.SIGKILL)
            until(lambda: not _is_alive(trainer) and not _is_alive(fork_server_pid), 60)
        finally:
            supervisor.kill()


def test_a_warm_fork_server_starts_a_trainer_in_less_than_half_the_time(
    fork_server: ForkServer, sqlite_settings: Settings, tmp_path: Path
) -> None:
    fork_server.start(sqlite_settings, DEFAULT_TENANT, "job_of_nobody", 1, tmp_path / "log").wait(timeout=120)
    cold = _cold_start_seconds(sqlite_settings)
    warm = []
    for attempt in range(2, 8):  # the fastest counts: the machine may be busy for seconds
        began = time.monotonic()
        fork_server.start(sqlite_settings, DEFAULT_TENANT, "job_of_nobody", attempt, tmp_path / "log").wait(
            timeout=120
        )
        warm.append(time.monotonic() - began)
    assert min(warm) < cold / 2


def _cold_start_seconds(settings: Settings) -> float:
    began = time.monotonic()
    argv = [sys.executable, "-m", "worker.trainer", "job_of_nobody", "1", DEFAULT_TENANT]
    subprocess.run(argv, env={**os.environ, **settings.environment()}, capture_output=True, check=False)
    return time.monotonic() - began


def _is_alive(pid: int) -> bool:
    """Return whether the process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
