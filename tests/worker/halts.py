"""Trainers that stand still where a test wants them: none ends, or is within a transaction, before it has looked."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Final

from jobs.runtime.failpoints import STOP
from jobs.runtime.settings import Settings
from tests.faults.processes import is_frozen, signal_all
from tests.worker.helpers import trainer_pids, until

_POINT: Final = "metrics.committed"
"""Passed by the thread that does all of a trainer's writes, between two of them."""


class Halting:
    """A trainer of `settings`, made before it is started, stands still after each tick until it is to go on."""

    def __init__(self, settings: Settings) -> None:
        folder = settings.data_dir.parent / "halts"
        folder.mkdir()
        self.settings = settings.model_copy(update={"faults_dir": folder})
        self._order = folder / _POINT
        self._order.write_text(STOP)

    def when(self, met: Callable[[], bool], job_id: str) -> int:
        """Let the job's trainer go on from tick to tick until `met`; its pid. It stands still then."""
        until(lambda: self._stands_still(job_id))
        while not met():
            self._order.write_text(STOP)
            self.go_on(job_id)
            until(lambda: self._stands_still(job_id))
        (pid,) = trainer_pids(job_id)
        return pid

    def go_on(self, job_id: str) -> None:
        """As if it had never stood still."""
        signal_all(trainer_pids(job_id), signal.SIGCONT)

    def _stands_still(self, job_id: str) -> bool:
        return not self._order.exists() and any(map(is_frozen, trainer_pids(job_id)))
