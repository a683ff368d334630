"""Child processes that leave nothing behind: each has a session of its own and dies with its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any, Final

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    stdin: int = subprocess.DEVNULL,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
    parent_death_signal: signal.Signals = signal.SIGKILL,
    user: str | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start `argv` as the leader of a new session. Linux sends it `parent_death_signal` when its parent dies.

    `user` is the user that it runs as; None: the user of this process. It inherits the file descriptors `pass_fds`.

    Call this from a thread that lives as long as the child should: the kernel watches the thread, not the process.
    """
    parent = os.getpid()
    return subprocess.Popen(
        list(argv),
        env=dict(env),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        user=user,
        pass_fds=pass_fds,
        preexec_fn=lambda: die_with_parent(parent, parent_death_signal),
    )


def die_with_parent(parent: int, number: signal.Signals) -> None:
    """Have Linux send the signal `number` to this process when its parent process `parent` dies."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # the parent died before the line above
            os.kill(os.getpid(), signal.SIGKILL)


def end(process: subprocess.Popen[bytes], grace: float) -> int:
    """Ask the process to stop, wait `grace` seconds, then kill its whole session.

    Return its exit code, which is negative for a signal.
    """
    end_all([(process, grace)])
    return process.wait()


def end_all(processes: Iterable[tuple[subprocess.Popen[bytes], float]]) -> None:
    """End every process as `end` does, all at the same time, each with its own grace period in seconds."""
    running = [(process, grace) for process, grace in processes if process.poll() is None]
    for process, _ in running:
        process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    for process, grace in running:
        try:
            process.wait(timeout=max(0.0, started + grace - time.monotonic()))
        except subprocess.TimeoutExpired:
            kill(process)
            process.wait()


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and all processes of its session at once."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
