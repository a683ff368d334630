"""Child processes of `gantry up` and `gantry demo`. Each leads a session of its own and ends with its parent.

`jobs.runtime.process` does the same for the service. The client does not import the service.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any, Final

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None


def start(
    argv: Sequence[str], env: Mapping[str, str], log: IO[Any], pass_fds: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start `argv` with its output in `log`. On Linux the kernel kills it when the calling thread ends."""
    parent = os.getpid()

    def die_with_parent() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
            if os.getppid() != parent:  # the parent ended before prctl was called
                os.kill(os.getpid(), signal.SIGKILL)

    return subprocess.Popen(
        list(argv),
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        pass_fds=pass_fds,
        preexec_fn=die_with_parent,
    )


def stop(processes: Iterable[tuple[subprocess.Popen[bytes], float]]) -> None:
    """Send SIGTERM to each process that runs, wait for its grace period in seconds, then kill its session."""
    running = [(process, grace) for process, grace in processes if process.poll() is None]
    for process, _ in running:
        process.terminate()
    began = time.monotonic()
    for process, grace in running:
        try:
            process.wait(max(0.0, began + grace - time.monotonic()))
        except subprocess.TimeoutExpired:
            kill(process)
            process.wait()


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and all others of its session. Do not wait for their end."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
