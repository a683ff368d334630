"""A limit on how many threads use something at the same time; further ones wait or get an error."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from jobs.errors import BusyError


class ConcurrencyLimiter:
    """A limit of `most` concurrent users in this process, for threads and for an event loop; `waiting` more may wait.

    A waiting request holds one of the threads that serve all requests, so the number of waiting ones is limited too.
    """

    def __init__(self, most: int, busy: type[BusyError], detail: str, *, waiting: int = 0) -> None:
        self._free, self._busy, self._detail = threading.BoundedSemaphore(most), busy, detail
        self._admitted = threading.BoundedSemaphore(most + waiting)

    @contextmanager
    def slot(self, within_seconds: float = 0.0) -> Iterator[None]:
        """Hold one slot for the block.

        Raises the limiter's error if no slot becomes free in time, or at once if the maximum number already waits.
        """
        if not self._admitted.acquire(blocking=False):
            raise self._busy(self._detail)
        try:
            if not self._free.acquire(timeout=within_seconds):
                raise self._busy(self._detail)
            try:
                yield
            finally:
                self._free.release()
        finally:
            self._admitted.release()
