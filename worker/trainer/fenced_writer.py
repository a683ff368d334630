"""What an attempt writes into the record: every write fenced, in order, and patient with a database that is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final, TypeVar

import structlog

from jobs import leases
from jobs.db import Database, Session
from jobs.errors import FencedError, UnavailableError
from jobs.leases import JobRequests
from jobs.runtime import failpoints

log = structlog.get_logger("gantry.journal")

T = TypeVar("T")

_LONGEST_PAUSE: Final = 2.0


class FencedWriter:
    """The record of one attempt, kept by one thread: what is written is written in order.

    `post` does not wait for it, so that training goes on while the database is away; `write` and `read` do. Each is
    tried again, with growing pauses, and given up when the lease of `ttl` seconds can no longer be held. After a
    write that was given up or refused nothing is written any more, and every call raises what that one met: `FencedError`
    when the job is no longer this attempt's.
    """

    def __init__(self, db: Database, job_id: str, attempt: int, ttl: float) -> None:
        self.job_id, self.attempt = job_id, attempt
        self.orders = JobRequests()
        """What was asked of the job, as of the last write that is done."""
        self._db, self._ttl = db, ttl
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gantry-journal")
        self._failed: Exception | None = None

    def post(self, action: Callable[[Session], object] | None = None, **progress: Any) -> JobRequests:
        """Have one transaction written: the fence (with the job's `progress`, see `leases.fence`), then `action`.

        `action` may run again when it is not known whether the first time was committed: it must be safe to repeat.
        """
        self._submit(lambda: self._fenced(action, progress))
        return self.orders

    def write(self, action: Callable[[Session], object] | None = None, **progress: Any) -> JobRequests:
        """As `post`, and wait until it, and all before it, is committed."""
        return self._submit(lambda: self._fenced(action, progress)).result()

    def read(self, query: Callable[[Session], T]) -> T:
        """What `query` finds, once all before it is committed."""

        def once() -> T:
            with self._db.read() as s:
                return query(s)

        return self._submit(lambda: self._patiently(once)).result()

    def saved(self) -> None:
        """The checkpoint that somebody asked for is registered."""
        self.orders = replace(self.orders, checkpoint=False)

    def close(self) -> None:
        """Wait until all is written, or known not to be; what was not is in the log."""
        self._thread.shutdown()
        if self._failed is not None:
            log.warning("not all of this attempt is in the record", reason=str(self._failed))

    def _submit(self, call: Callable[[], T]) -> Future[T]:
        if self._failed is not None:
            raise self._failed
        return self._thread.submit(self._unless_failed, call)

    def _unless_failed(self, call: Callable[[], T]) -> T:
        # What comes after a write that failed must not be written: the curve would have a gap.
        if self._failed is not None:
            raise self._failed
        try:
            return call()
        except Exception as error:
            self._failed = error
            raise

    def _fenced(self, action: Callable[[Session], object] | None, progress: dict[str, Any]) -> JobRequests:
        def once() -> JobRequests:
            with self._db.write() as s:
                orders = leases.fence(s, self.job_id, self.attempt, self._ttl, **progress)
                if action is not None:
                    action(s)
            if action is not None and "step" in progress:
                failpoints.passed("metrics.committed")
            return orders

        self.orders = self._patiently(once)
        return self.orders

    def _patiently(self, once: Callable[[], T]) -> T:
        give_up, pause = time.monotonic() + leases.HOLD_SHARE * self._ttl, 0.1
        while True:
            try:
                return once()
            except UnavailableError as error:
                if time.monotonic() + pause > give_up:
                    raise FencedError("The database was away for longer than the lease can be held.") from error
                log.warning("the database is away; what was to be written waits", error=str(error), pause=pause)
            time.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)
