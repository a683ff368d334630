"""Trainers that pause themselves after every tick, so that a test can act at a known step, between transactions."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Final

from jobs.runtime.failpoints import STOP
from jobs.runtime.settings import Settings
from tests.faults.processes import is_frozen, signal_all
from tests.worker.helpers import trainer_pids, until

_POINT: Final = "metrics.committed"
"""The failpoint at which a trainer pauses: in the thread of its writes, between two of them."""


class PausingTrainer:
    """A trainer that pauses by SIGSTOP after each tick. Create it first, then start the trainer by its `settings`."""

    def __init__(self, settings: Settings) -> None:
        folder = settings.data_dir.parent / "failpoints"
        folder.mkdir()
        self.settings = settings.model_copy(update={"faults_dir": folder})
        self._stop_file = folder / _POINT
        self._stop_file.write_text(STOP)

    def pause_when(self, met: Callable[[], bool], job_id: str) -> int:
        """Continue the trainer from tick to tick until `met` returns true. Return its pid; it is paused then."""
        until(lambda: self._is_paused(job_id))
        while not met():
            self._stop_file.write_text(STOP)
            self.resume(job_id)
            until(lambda: self._is_paused(job_id))
        (pid,) = trainer_pids(job_id)
        return pid

    def resume(self, job_id: str) -> None:
        """Continue the trainer, without further pauses."""
        signal_all(trainer_pids(job_id), signal.SIGCONT)

    def _is_paused(self, job_id: str) -> bool:
        return not self._stop_file.exists() and any(map(is_frozen, trainer_pids(job_id)))
