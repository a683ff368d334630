"""Ends a trainer whose lease can no longer be held, from a thread of its own.

A database that swallows packets blocks the heartbeat itself, so the heartbeat's thread cannot be the one to decide.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

import structlog

log = structlog.get_logger("gantry.watchdog")


class Watched(Protocol):
    """A process that may have to be ended."""

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""

    def kill(self) -> None:
        """End it at once."""


class Watchdog(threading.Thread):
    """Kills `process` when `limit` seconds have passed since the last heartbeat that was answered.

    Counted on the monotonic clock from before that heartbeat was sent: the lease began no earlier.
    """

    def __init__(self, process: Watched, limit: float, heard_at: float) -> None:
        super().__init__(name="gantry-watchdog", daemon=True)
        self._process, self._limit, self._heard_at = process, limit, heard_at
        self._stop_asked = threading.Event()
        self.fired = False

    def feed(self, sent_at: float) -> None:
        """A heartbeat that was sent at `sent_at` (monotonic, s) was answered."""
        self._heard_at = sent_at

    def stop(self) -> None:
        """The trainer has ended."""
        self._stop_asked.set()
        self.join()

    def run(self) -> None:
        while not self._stop_asked.wait(max(0.01, self._heard_at + self._limit - time.monotonic())):
            if time.monotonic() - self._heard_at >= self._limit:
                self.fired = True
                log.error("no heartbeat was answered in time; the trainer is killed", seconds=self._limit)
                if self._process.poll() is None:
                    self._process.kill()
                return
