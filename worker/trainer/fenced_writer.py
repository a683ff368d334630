"""Writes of an attempt to the record: each is fenced, in order, and retried while the database is away."""

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

log = structlog.get_logger("gantry.fenced_writer")

T = TypeVar("T")

_LONGEST_PAUSE: Final = 2.0


class FencedWriter:
    """A thread that writes for one attempt, in order.

    `post` does not wait, so that training continues while the database is away; `write` and `read` wait. Each is
    retried with growing pauses until the lease of `ttl` seconds can no longer be held. After a failed write nothing
    more is written, and every call raises its error: `FencedError` if another attempt owns the job.
    """

    def __init__(self, db: Database, job_id: str, attempt: int, ttl: float) -> None:
        self.job_id, self.attempt = job_id, attempt
        self.requests = JobRequests()
        """What was requested of the job, as of the last completed write."""
        self._db, self._ttl = db, ttl
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gantry-fenced-writer")
        self._failed: Exception | None = None

    def post(self, action: Callable[[Session], object] | None = None, **progress: Any) -> JobRequests:
        """Queue one transaction: the fence (with the job's `progress`, see `leases.fence`), then `action`.

        `action` must be safe to repeat: it runs again if it is unknown whether the first commit succeeded.
        """
        self._submit(lambda: self._fenced(action, progress))
        return self.requests

    def write(self, action: Callable[[Session], object] | None = None, **progress: Any) -> JobRequests:
        """Queue one transaction like `post`, and wait until it and all before it are committed."""
        return self._submit(lambda: self._fenced(action, progress)).result()

    def read(self, query: Callable[[Session], T]) -> T:
        """Return the result of `query`, run after all queued writes are committed."""

        def once() -> T:
            with self._db.read() as s:
                return query(s)

        return self._submit(lambda: self._retry(once)).result()

    def clear_checkpoint_request(self) -> None:
        """Note that the requested checkpoint is registered."""
        self.requests = replace(self.requests, checkpoint=False)

    def close(self) -> None:
        """Wait until every write is committed or has failed. A failure is logged."""
        self._thread.shutdown()
        if self._failed is not None:
            log.warning("some writes of this attempt are not in the record", reason=str(self._failed))

    def _submit(self, call: Callable[[], T]) -> Future[T]:
        if self._failed is not None:
            raise self._failed
        return self._thread.submit(self._unless_failed, call)

    def _unless_failed(self, call: Callable[[], T]) -> T:
        # Nothing may be written after a failed write: the curve would have a gap.
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
                requests = leases.fence(s, self.job_id, self.attempt, self._ttl, **progress)
                if action is not None:
                    action(s)
            if action is not None and "step" in progress:
                failpoints.passed("metrics.committed")
            return requests

        self.requests = self._retry(once)
        return self.requests

    def _retry(self, once: Callable[[], T]) -> T:
        give_up, pause = time.monotonic() + leases.HOLD_SHARE * self._ttl, 0.1
        while True:
            try:
                return once()
            except UnavailableError as error:
                if time.monotonic() + pause > give_up:
                    raise FencedError("The database was away for longer than the lease can be held.") from error
                log.warning("the database is away; the write is retried", error=str(error), pause=pause)
            time.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)
