"""What an attempt writes into the record: every write fenced, in order, and patient with a database that is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import structlog

from jobs import leases
from jobs.db import Database, Session
from jobs.errors import Fenced, Unavailable
from jobs.leases import Orders

log = structlog.get_logger("gantry.journal")

T = TypeVar("T")

_LONGEST_PAUSE: Final = 2.0


class Journal:
    """The record of one attempt. Both methods raise `Fenced` when the job is no longer this attempt's.

    Each waits, with growing pauses, for a database that is away, and gives up when the lease of `ttl` seconds can no
    longer be held. Whoever calls waits with it, so that nothing overtakes: what is written is written in order.
    """

    def __init__(self, db: Database, job_id: str, attempt: int, ttl: float) -> None:
        self.job_id, self.attempt = job_id, attempt
        self._db, self._ttl = db, ttl

    def write(self, action: Callable[[Session], object] | None = None, **progress: Any) -> Orders:
        """One transaction: the fence (with the job's `progress`, see `leases.fence`), then `action`.

        `action` may run again when it is not known whether the first time was committed: it must be safe to repeat.
        """

        def fenced() -> Orders:
            with self._db.write() as s:
                orders = leases.fence(s, self.job_id, self.attempt, self._ttl, **progress)
                if action is not None:
                    action(s)
            return orders

        return self._patiently(fenced)

    def read(self, query: Callable[[Session], T]) -> T:
        """What `query` finds."""

        def once() -> T:
            with self._db.read() as s:
                return query(s)

        return self._patiently(once)

    def _patiently(self, once: Callable[[], T]) -> T:
        give_up, pause = time.monotonic() + leases.HOLD_SHARE * self._ttl, 0.1
        while True:
            try:
                return once()
            except Unavailable as error:
                if time.monotonic() + pause > give_up:
                    raise Fenced("The database was away for longer than the lease can be held.") from error
                log.warning("the database is away; training waits", error=str(error), pause=pause)
            time.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)
