"""Named steps of the protocol at which a test may end this process, as `kill -9` would, or have it stand still.

Off in every deployment: `GANTRY_FAULTS_DIR` is empty. In a test it names a folder; whoever passes the step `x` while
a file `x` lies there takes the file away and dies, or stands still until SIGCONT if the file says `stop`. One file,
one process, whichever comes first.
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
"""In the order in which a job meets them."""

STOP: Final = "stop"
"""What a file says at whose step a process is to stand still."""

_SIGKILLED: Final = 137

_folder: Path | None = None


def arm(folder: Path | None) -> None:
    """Heed the files of `folder` from now on; None: none."""
    global _folder
    _folder = folder


def passed(point: str) -> None:
    """This process has come to `point`."""
    if _folder is None:
        return
    assert point in POINTS, point
    order = _folder / point
    try:
        stands_still = order.read_text() == STOP
        order.unlink()
    except FileNotFoundError:
        return
    if stands_still:
        os.kill(os.getpid(), signal.SIGSTOP)
    else:
        os._exit(_SIGKILLED)
