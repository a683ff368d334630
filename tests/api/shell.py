"""Helpers for tests of the command `gantry`: run it, start a service for it, and act as a worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gantry.client import ApiError, Client, UnreachableError
from jobs import leases
from jobs.db import Database, migrate
from jobs.runtime import process
from jobs.runtime.settings import Settings
from jobs.status import Status
from tests.conftest import small_settings
from tests.ports import free_port


@contextmanager
def service(folder: Path, **values: object) -> Iterator[Settings]:
    """Run `python -m api` and yield its settings when it is ready."""
    settings = small_settings(folder, port=free_port(), **values)
    migrate(settings)
    server = process.spawn([sys.executable, "-m", "api"], env={**os.environ, **settings.environment()})
    try:
        with Client(url_of(settings)) as client:
            _until_ready(client, server)
        yield settings
    finally:
        assert process.end(server, 60) == 0


def url_of(settings: Settings) -> str:
    return f"http://127.0.0.1:{settings.port}"


def _until_ready(client: Client, server: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        try:
            client.ready()
            return
        except (UnreachableError, ApiError):
            assert server.poll() is None, "the server ended"
            time.sleep(0.1)
    raise AssertionError("the server was not ready within two minutes")


def gantry(
    *words: str, settings: Settings | None = None, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command; with `settings`, against their service."""
    at = ["--url", url_of(settings)] if settings else []
    argv = [sys.executable, "-m", "gantry", *words, *at]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, **(variables or {})})


def submit(settings: Settings, *words: str) -> str:
    done = gantry("submit", "--dataset", "fashion-mnist-mini", "--steps", "10", *words, settings=settings)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def claim(settings: Settings, job_id: str) -> None:
    """Claim this job as a worker."""
    db = Database(settings.database)
    with db.write() as s:
        while (job := leases.claim(s, "w", "cpu", 0, 60)) is not None and job.id != job_id:
            pass
    db.dispose()


def give_back(settings: Settings, job_id: str) -> None:
    """Release the job as its worker, because a pause or a cancel was requested."""
    db = Database(settings.database)
    with db.write() as s:
        leases.release(s, job_id, 1, crash=False, reason={"code": "stopped", "message": "As asked."})
    db.dispose()


def play(settings: Settings, job_id: str, status: Status) -> None:
    """Claim, train and end this job as a worker."""
    db = Database(settings.database)
    with db.write() as s:
        while (job := leases.claim(s, "w", "cpu", 0, 60)) is not None and job.id != job_id:
            pass
        leases.fence(
            s, job_id, 1, 60, step=10, images_seen=640, images_per_second=64.0, latest_metrics={"loss_d": 0.5}
        )
        error = {"code": "diverged", "message": "D won.", "retryable": False, "step": 10, "hint": "Try again."}
        leases.finish(s, job_id, 1, status, error if status is Status.FAILED else None)
    db.dispose()
