"""Who runs: processes found in /proc by what they are, never by a bare name."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrainerHandle:
    """A trainer process, and the fork server, supervisor and worker above it."""

    job_id: str
    attempt: int
    pid: int
    fork_server: int
    supervisor: int
    worker: int

    @property
    def chain(self) -> list[int]:
        """All four, the worker first."""
        return [self.worker, self.supervisor, self.fork_server, self.pid]


def trainers(job_ids: set[str]) -> list[TrainerHandle]:
    """Return the trainers of these jobs."""
    found = []
    for pid in _pids():
        words = _words(pid)
        if words[:1] == ["worker.trainer"] and words[1] in job_ids and (fork_server := parent_of(pid)):
            supervisor = parent_of(fork_server)
            found.append(TrainerHandle(words[1], int(words[2]), pid, fork_server, supervisor, parent_of(supervisor)))
    return found


def of_service(data_dir: Path) -> list[int]:
    """Every process that was given this data folder: all of a service."""
    mark = f"GANTRY_DATA_DIR={data_dir.absolute()}".encode()
    return [pid for pid in _pids() if pid != os.getpid() and mark in _read(pid, "environ").split(b"\0")]


def children_of(pid: int) -> list[int]:
    """Its direct children."""
    return [other for other in _pids() if parent_of(other) == pid]


def parent_of(pid: int) -> int:
    """0 when it is no more."""
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def is_frozen(pid: int) -> bool:
    """Whether somebody has sent it SIGSTOP."""
    return _stat(pid)[:1] == [b"T"]


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """Send it to those that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def describe(pid: int) -> str:
    """Its command, for a report."""
    return " ".join(_words(pid)) or "gone"


def _pids() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]


def _stat(pid: int) -> list[bytes]:
    # The name in parentheses may hold anything; what follows the last one does not: state, parent, ...
    return _read(pid, "stat").rpartition(b")")[2].split()


def _words(pid: int) -> list[str]:
    return _read(pid, "cmdline").decode(errors="replace").replace("\0", " ").split()


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""  # it ended while we looked, or is not ours
