"""Child processes that leave nothing behind: each in a session of its own, and gone when its parent is."""

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
    """Start `argv` as the leader of a new session; Linux sends it `parent_death_signal` when its parent dies.

    `user` is who it runs as; None: who we are. It inherits `pass_fds`, by the same numbers.

    Call it from a thread that lives as long as the child shall: the kernel watches the thread, not the process.
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
    """Have Linux send this process `number` when `parent`, whose child it is, dies."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # it died before the line above
            os.kill(os.getpid(), signal.SIGKILL)


def end(process: subprocess.Popen[bytes], grace: float) -> int:
    """Ask it to stop, wait `grace` seconds, then kill its whole session; its exit code, negative for a signal."""
    end_all([(process, grace)])
    return process.wait()


def end_all(processes: Iterable[tuple[subprocess.Popen[bytes], float]]) -> None:
    """`end` each with a grace of its own, all at once: the slowest says how long it takes."""
    asked = [(process, grace) for process, grace in processes if process.poll() is None]
    for process, _ in asked:
        process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    for process, grace in asked:
        try:
            process.wait(timeout=max(0.0, started + grace - time.monotonic()))
        except subprocess.TimeoutExpired:
            kill(process)
            process.wait()


def kill(process: subprocess.Popen[bytes]) -> None:
    """End it and what it has started, at once."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
