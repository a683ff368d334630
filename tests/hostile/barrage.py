"""Start a service with a job that trains, send every row of the matrix, and measure answers, memory and speed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from jobs.runtime.process import end, spawn
from tests.faults.processes import trainers
from tests.hostile.row import HostileRow
from tests.hostile.target import Target
from tests.hostile.watch import MemoryWatch, Pace, family, files, pace
from tests.ports import free_port

# The largest resident memory of each kind of process, MB. Trainer, sampler and fork server hold torch. Uploads are
# read by processes with limits of their own.
BOUNDS_MB: Final = {
    "api": 256,
    "gantry.cli.app": 192,
    "jobs.relay": 192,
    "api.ui": 256,
    "worker": 192,
    "worker.sampler": 1024,
    "worker.fork_server": 768,
    "worker.trainer": 1024,
    "gan.uploads inspect": 256,
    "gan.uploads unpack": 384,
}
# With API keys, and without rate limits.
AUTH_ON: Final = {"GANTRY_AUTH": "on", "GANTRY_KEY_RATE": "", "GANTRY_TENANT_RATE": ""}
_FIRST_KEY: Final = re.compile(r"GANTRY_KEY=(\S+)")
_START_SECONDS: Final = 180
_CLEANUP_SECONDS: Final = 20
_BODY: Final[dict[str, Any]] = {
    "dataset": "fashion-mnist-mini",
    "total_steps": 10_000_000,
    "batch_size": 16,
    "generator": {"base_channels": 8},
    "discriminator": {"base_channels": 8},
    "previews": {"every_steps": 10_000_000},
    "checkpoints": {"every_steps": 10_000_000},
    "evaluation": {"enabled": False},
}


@dataclass
class RowOutcome:
    """The result of a run."""

    answers: list[tuple[HostileRow, str, float]] = field(default_factory=list)
    """(row, answer, seconds)"""
    memory: dict[str, float] = field(default_factory=dict)
    leftover_files: list[str] = field(default_factory=list)
    ended_processes: list[str] = field(default_factory=list)
    quiet: list[Pace] = field(default_factory=list)
    busy: list[Pace] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        """A line for each row with an unexpected answer."""
        return [
            f"{row.kind}: {row.name}: {got}, expected {' or '.join(row.wanted)}"
            for row, got, _ in self.answers
            if got not in row.wanted
        ]

    @property
    def over_memory_bounds(self) -> list[str]:
        return [f"{name}: {mb:.0f} MB" for name, mb in self.memory.items() if mb > BOUNDS_MB.get(name, 256)]

    def slowed(self, of: Callable[[Pace], float]) -> float:
        """Return by which share the trainer was slower under bad input: 0.1 is 10 %; below 0 it was faster."""
        return 1 - median(map(of, self.busy)) / median(map(of, self.quiet))


@contextmanager
def service(folder: Path, variables: Mapping[str, str] = AUTH_ON) -> Iterator[tuple[Target, int]]:
    """Start `gantry up` in `folder`. Yield a target with an administrator's key, and the pid."""
    port, scratch = free_port(), folder / "tmp"
    scratch.mkdir()
    argv = [sys.executable, "-m", "gantry", "up", "--port", str(port), "--data", str(folder / "data")]
    environment = {**os.environ, "GANTRY_TRAINER_THREADS": "1", "TMPDIR": str(scratch), **variables}
    with (folder / "up.log").open("wb") as log:
        up = spawn(argv, env=environment, stdout=log, stderr=log)
    target = Target(f"http://127.0.0.1:{port}")
    try:
        _until_ready(target, up, folder / "up.log")
        yield target, up.pid
    finally:
        target.close()
        end(up, grace=60)


def run(
    rows: Sequence[HostileRow], folder: Path, log: Callable[[str], None], quiet_seconds: float, each: int
) -> RowOutcome:
    """Send `rows`, `each` at a time. Before each group, measure the trainer for `quiet_seconds` without bad input."""
    outcome = RowOutcome()
    with service(folder) as (target, up):
        made = target.http.post("/v1/jobs", json=_BODY)
        job_id = made.raise_for_status().json()["id"]
        trainer = _trainer_of(target, job_id)
        before, alive, memory = files(folder), set(family(up)), MemoryWatch(up)
        with memory.watched():
            for start in range(0, len(rows), each):
                with pace(target.http, job_id, trainer, outcome.quiet):
                    time.sleep(quiet_seconds)
                with pace(target.http, job_id, trainer, outcome.busy):
                    _send_rows(rows[start : start + each], target, outcome, log)
        outcome.memory = memory.most
        outcome.ended_processes = [f"process {pid}" for pid in sorted(alive - set(family(up)))]
        target.http.post(f"/v1/jobs/{job_id}/cancel")
        outcome.leftover_files = _leftover_files(folder, before, job_id)
    return outcome


def _send_rows(rows: Sequence[HostileRow], target: Target, outcome: RowOutcome, log: Callable[[str], None]) -> None:
    for row in rows:
        began = time.monotonic()
        try:
            got = row.send(target)
        except Exception as error:  # noqa: BLE001 - any error is the row's result
            got = f"{type(error).__name__}: {error}"
        seconds = time.monotonic() - began
        outcome.answers.append((row, got, seconds))
        mark = " " if got in row.wanted else "!"
        log(f"{mark} {row.kind:8} {row.name[:44]:44} {got[:60]:40} {seconds:6.2f} s")


def _leftover_files(folder: Path, before: set[str], job_id: str) -> list[str]:
    """Return the files that are left, after waiting for those that are being removed."""
    deadline = time.monotonic() + _CLEANUP_SECONDS
    while True:
        left = sorted(name for name in files(folder) - before if not _is_expected(name, job_id))
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.2)


def _is_expected(name: str, job_id: str) -> bool:
    """Return whether a file does not come from bad input: a log, or a file of the training job or of the database."""
    return name in ("data/datasets", "data/datasets/default", "data/features") or name.startswith(
        ("data/logs", f"data/artifacts/default/{job_id}", "data/gantry.db", "data/queue")
    )


def _trainer_of(target: Target, job_id: str) -> int:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        job = target.http.get(f"/v1/jobs/{job_id}").json()
        if job["progress"]["step"] > 100 and (found := trainers({job_id})):
            return found[0].pid
        time.sleep(0.2)
    raise AssertionError(f"the job does not train: {job}")


def _until_ready(target: Target, up: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and up.poll() is None:
        if key := _FIRST_KEY.search(log.read_text()):
            target.use_key(key[1])
        if target.is_ready():
            return
        time.sleep(0.2)
    raise AssertionError(f"the service did not start:\n{log.read_text()}")
