"""Measurements of a service under bad input: memory of each process, files, and the speed of a trainer."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from tests.faults.processes import children_of, describe

_EVERY_SECONDS = 0.1
_TICK = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    below = [child for direct in children_of(pid) for child in family(direct)]
    return [pid, *below]


def role(pid: int) -> str:
    """Return the name of the module that a process runs."""
    words = describe(pid).split()
    for before, word in zip(["", *words], words, strict=False):
        if before == "-m":
            return " ".join([word, *words[words.index(word) + 1 :][:1]]) if word == "gan.uploads" else word
    return words[0].rsplit("/", 1)[-1] if words else "gone"


@dataclass
class MemoryWatch:
    """The peak resident memory of each kind of process, MB."""

    pid: int
    most: dict[str, float] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watched(self) -> Iterator[None]:
        watcher = threading.Thread(target=self._watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            self._stop.set()
            watcher.join()

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            for pid in family(self.pid):
                name = role(pid)
                self.most[name] = max(self.most.get(name, 0.0), resident_mb(pid))


def resident_mb(pid: int) -> float:
    """Return the peak resident memory of a process so far, MB; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def processor_seconds(pid: int) -> float:
    """Return the CPU time of all threads of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def files(folder: Path) -> set[str]:
    """Return the relative paths of all files and folders below `folder`."""
    # rglob would raise an error if a folder is removed during the walk.
    found = (Path(inside, name) for inside, inner, names in os.walk(folder) for name in (*inner, *names))
    return {str(path.relative_to(folder)) for path in found}


@dataclass(frozen=True)
class Pace:
    """The speed of a job: steps per second, and steps per CPU second of its trainer."""

    wall: float
    processor: float


@contextmanager
def pace(http: httpx2.Client, job_id: str, trainer: int, taken: list[Pace]) -> Iterator[None]:
    """Add the pace of the block to `taken`."""
    steps, used, began = _steps(http, job_id), processor_seconds(trainer), time.monotonic()
    yield
    done = _steps(http, job_id) - steps
    wall, processor = time.monotonic() - began, processor_seconds(trainer) - used
    taken.append(Pace(done / wall, done / max(processor, 1e-9)))


def _steps(http: httpx2.Client, job_id: str) -> int:
    """Return the step right after a tick, so that both ends are measured alike."""
    first = _step(http, job_id)
    while (step := _step(http, job_id)) == first:
        time.sleep(0.02)
    return step


def _step(http: httpx2.Client, job_id: str) -> int:
    return int(http.get(f"/v1/jobs/{job_id}").json()["progress"]["step"])
