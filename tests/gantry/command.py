"""The command `gantry` as a process, and functions that act as the worker of a job."""

from __future__ import annotations

import os
import subprocess
import sys

from jobs import leases
from jobs.db import Database
from jobs.runtime.settings import Settings
from jobs.status import Status
from tests.api.shell import url_of


def gantry(
    *words: str, settings: Settings | None = None, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command, with the address of the service of `settings`."""
    at = ["--url", url_of(settings)] if settings else []
    argv = [sys.executable, "-m", "gantry", *words, *at]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, **(variables or {})})


def submit(settings: Settings, *words: str) -> str:
    """Submit a job of 10 steps and return its id."""
    done = gantry("submit", "--dataset", "fashion-mnist-mini", "--steps", "10", *words, settings=settings)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def claim(settings: Settings, job_id: str) -> None:
    """Claim the job as a worker does. All jobs that are queued before it are claimed, too."""
    db = Database(settings.database)
    with db.write() as s:
        while (job := leases.claim(s, "w", "cpu", 0, 60)) is not None and job.id != job_id:
            pass
    db.dispose()


def give_back(settings: Settings, job_id: str) -> None:
    """Release the claimed job, as its worker does after a request to stop."""
    db = Database(settings.database)
    with db.write() as s:
        leases.release(s, job_id, 1, crash=False, reason={"code": "stopped", "message": "As asked."})
    db.dispose()


def finish(settings: Settings, job_id: str, status: Status) -> None:
    """Claim the job, run it to step 10 and end it with `status`, as a worker does."""
    claim(settings, job_id)
    db = Database(settings.database)
    with db.write() as s:
        leases.fence(
            s, job_id, 1, 60, step=10, images_seen=640, images_per_second=64.0, latest_metrics={"loss_d": 0.5}
        )
        error = {"code": "diverged", "message": "D won.", "retryable": False, "step": 10, "hint": "Try again."}
        leases.finish(s, job_id, 1, status, error if status is Status.FAILED else None)
    db.dispose()
