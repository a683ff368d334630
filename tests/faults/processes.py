"""The processes of a service, found in /proc by their arguments or environment, never by a bare name."""

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
        """The process ids of all four, the worker first."""
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
    """Return all processes of the service with this data folder."""
    mark = f"GANTRY_DATA_DIR={data_dir.absolute()}".encode()
    return [pid for pid in _pids() if pid != os.getpid() and mark in _read(pid, "environ").split(b"\0")]


def children_of(pid: int) -> list[int]:
    """Return the direct children of a process."""
    return [other for other in _pids() if parent_of(other) == pid]


def parent_of(pid: int) -> int:
    """Return the parent of a process; 0 if the process has ended."""
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def is_frozen(pid: int) -> bool:
    """Return whether the process is stopped, by SIGSTOP."""
    return _stat(pid)[:1] == [b"T"]


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to those processes that still exist."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def describe(pid: int) -> str:
    """Return the command line of a process, for a report; "gone" if it has ended."""
    return " ".join(_words(pid)) or "gone"


def _pids() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]


def _stat(pid: int) -> list[bytes]:
    # The name in parentheses may hold parentheses. After the last one come state, parent, ...
    return _read(pid, "stat").rpartition(b")")[2].split()


def _words(pid: int) -> list[str]:
    return _read(pid, "cmdline").decode(errors="replace").replace("\0", " ").split()


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""  # it has ended, or belongs to another user
