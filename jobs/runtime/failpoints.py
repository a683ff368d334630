"""Failpoints: named steps at which a test can kill this process, as `kill -9` would, or stop it.

They are off in every deployment, where `GANTRY_FAULTS_DIR` is empty. In a test the variable names a folder. The first
process that passes the step `x` while the folder holds a file `x` deletes the file and dies. If the file contains
`stop`, the process stops until SIGCONT instead. So each file affects one process.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Final

POINTS: Final = (
    "accept.before_commit",
    "accept.committed",
    "relay.sent",
    "relay.crossed_off",
    "reap.before_commit",
    "claim.before_commit",
    "claim.committed",
    "trainer.spawned",
    "resume.committed",
    "metrics.before_commit",
    "metrics.committed",
    "checkpoint.written",
    "checkpoint.renamed",
    "checkpoint.before_commit",
    "checkpoint.committed",
    "end.before_commit",
    "end.committed",
)
"""All steps, in the order in which a job passes them."""

STOP: Final = "stop"
"""The content of a file that stops a process instead of killing it."""

_SIGKILLED: Final = 137

_folder: Path | None = None


def arm(folder: Path | None) -> None:
    """Use the files of `folder` from now on; None switches the failpoints off."""
    global _folder
    _folder = folder


def passed(point: str) -> None:
    """Kill or stop this process if the folder holds a file for `point`."""
    if _folder is None:
        return
    assert point in POINTS, point
    file = _folder / point
    try:
        stop = file.read_text() == STOP
        file.unlink()
    except FileNotFoundError:
        return
    if stop:
        os.kill(os.getpid(), signal.SIGSTOP)
    else:
        os._exit(_SIGKILLED)
