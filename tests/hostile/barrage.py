"""A service is started, a job trains on it, every row of the matrix is thrown; what came back, and at what cost."""

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

# What a process of the service may hold at most, MB: the trainer's and the sampler's is torch's, and what strangers
# made is read by one whose limit is its own.
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
# With keys, and as many requests as one likes.
KEYED: Final = {"GANTRY_AUTH": "on", "GANTRY_KEY_RATE": "", "GANTRY_TENANT_RATE": ""}
_FIRST_KEY: Final = re.compile(r"GANTRY_KEY=(\S+)")
_STARTING_SECONDS: Final = 180
_TIDYING_SECONDS: Final = 20
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
    """What came of it."""

    answers: list[tuple[HostileRow, str, float]] = field(default_factory=list)
    """(what was thrown, what was answered, seconds)"""
    memory: dict[str, float] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    quiet: list[Pace] = field(default_factory=list)
    busy: list[Pace] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        """The rows that were not answered as they are to be."""
        return [
            f"{row.kind}: {row.name}: {got}, and not {' or '.join(row.wanted)}"
            for row, got, _ in self.answers
            if got not in row.wanted
        ]

    @property
    def too_large(self) -> list[str]:
        return [f"{name}: {mb:.0f} MB" for name, mb in self.memory.items() if mb > BOUNDS_MB.get(name, 256)]

    def slowed(self, of: Callable[[Pace], float]) -> float:
        """By how much the trainer was slower while things were thrown: 0.1 is a tenth; below 0 it was faster."""
        return 1 - median(map(of, self.busy)) / median(map(of, self.quiet))


@contextmanager
def service(folder: Path, variables: Mapping[str, str] = KEYED) -> Iterator[tuple[Target, int]]:
    """`gantry up` in `folder`, ready, an administrator who asks, and its pid; its temporary files lie there."""
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
    rows: Sequence[HostileRow], folder: Path, tell: Callable[[str], None], quiet_seconds: float, each: int
) -> RowOutcome:
    """Throw `rows`, `each` at a time, with a quiet while of so many seconds after each lot."""
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
                    _throw(rows[start : start + each], target, outcome, tell)
        outcome.memory = memory.most
        outcome.lost = [f"process {pid}" for pid in sorted(alive - set(family(up)))]
        target.http.post(f"/v1/jobs/{job_id}/cancel")
        outcome.left = _left(folder, before, job_id)
    return outcome


def _throw(rows: Sequence[HostileRow], target: Target, outcome: RowOutcome, tell: Callable[[str], None]) -> None:
    for row in rows:
        began = time.monotonic()
        try:
            got = row.send(target)
        except Exception as error:  # noqa: BLE001 - whatever went wrong is what the row came to
            got = f"{type(error).__name__}: {error}"
        seconds = time.monotonic() - began
        outcome.answers.append((row, got, seconds))
        mark = " " if got in row.wanted else "!"
        tell(f"{mark} {row.kind:8} {row.name[:44]:44} {got[:60]:40} {seconds:6.2f} s")


def _left(folder: Path, before: set[str], job_id: str) -> list[str]:
    """Return the files that are left, after those that are being removed are gone."""
    deadline = time.monotonic() + _TIDYING_SECONDS
    while True:
        left = sorted(name for name in files(folder) - before if not _ours(name, job_id))
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.2)


def _ours(name: str, job_id: str) -> bool:
    """Return whether a file has another cause than bad input: logs, the training job, the database."""
    return name in ("data/datasets", "data/datasets/default", "data/features") or name.startswith(
        ("data/logs", f"data/artifacts/default/{job_id}", "data/gantry.db", "data/queue")
    )


def _trainer_of(target: Target, job_id: str) -> int:
    deadline = time.monotonic() + _STARTING_SECONDS
    while time.monotonic() < deadline:
        job = target.http.get(f"/v1/jobs/{job_id}").json()
        if job["progress"]["step"] > 100 and (found := trainers({job_id})):
            return found[0].pid
        time.sleep(0.2)
    raise AssertionError(f"the job does not train: {job}")


def _until_ready(target: Target, up: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _STARTING_SECONDS
    while time.monotonic() < deadline and up.poll() is None:
        if key := _FIRST_KEY.search(log.read_text()):
            target.have_key(key[1])
        if target.is_ready():
            return
        time.sleep(0.2)
    raise AssertionError(f"the service did not start:\n{log.read_text()}")
