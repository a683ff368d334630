"""So many at a time: whoever comes when all places are taken is told so, at once or after a while."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from jobs.errors import BusyError


class ConcurrencyLimiter:
    """`most` places in this process, for threads and for an event loop alike; `waiting` more may wait for one.

    Whoever waits holds one of the threads that answer everybody.
    """

    def __init__(self, most: int, busy: type[BusyError], detail: str, *, waiting: int = 0) -> None:
        self._free, self._busy, self._detail = threading.BoundedSemaphore(most), busy, detail
        self._there = threading.BoundedSemaphore(most + waiting)

    @contextmanager
    def slot(self, within_seconds: float = 0.0) -> Iterator[None]:
        """A place for the block. Raises the error of these places when none becomes free in time; at once, where as
        many wait as may.
        """
        if not self._there.acquire(blocking=False):
            raise self._busy(self._detail)
        try:
            if not self._free.acquire(timeout=within_seconds):
                raise self._busy(self._detail)
            try:
                yield
            finally:
                self._free.release()
        finally:
            self._there.release()
