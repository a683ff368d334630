"""A thread that kills a trainer whose lease can no longer be held.

A database that drops packets blocks the heartbeat's own thread, so another thread must decide.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

import structlog

log = structlog.get_logger("gantry.watchdog")


class Watched(Protocol):
    """A process that the watchdog may kill."""

    def poll(self) -> int | None:
        """Return the exit code; None while the process runs."""

    def kill(self) -> None:
        """Kill the process at once."""


class Watchdog(threading.Thread):
    """A thread that kills `process` if `limit` seconds have passed since the last successful heartbeat.

    The time counts on the monotonic clock, from before that heartbeat was sent: the lease began no earlier.
    """

    def __init__(self, process: Watched, limit: float, renewed_at: float) -> None:
        super().__init__(name="gantry-watchdog", daemon=True)
        self._process, self._limit, self._renewed_at = process, limit, renewed_at
        self._stop_asked = threading.Event()
        self.fired = False

    def feed(self, sent_at: float) -> None:
        """Note that the heartbeat sent at `sent_at` (monotonic, in s) succeeded."""
        self._renewed_at = sent_at

    def stop(self) -> None:
        """Stop watching, because the trainer has ended."""
        self._stop_asked.set()
        self.join()

    def run(self) -> None:
        """Watch until `stop`. Once the time is over, set `fired` and kill the trainer."""
        while not self._stop_asked.wait(max(0.01, self._renewed_at + self._limit - time.monotonic())):
            if time.monotonic() - self._renewed_at >= self._limit:
                self.fired = True
                log.error("no heartbeat succeeded in time; the trainer is killed", seconds=self._limit)
                if self._process.poll() is None:
                    self._process.kill()
                return
