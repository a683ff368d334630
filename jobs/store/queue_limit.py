"""The limit of the number of queued jobs of all tenants together."""

from __future__ import annotations

import threading
import time
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from jobs import tenancy
from jobs.errors import QueueFullError
from jobs.models import Job, has_status
from jobs.status import Status

_SHARE_BETWEEN_COUNTS: Final = 100
_COUNT_HOLDS_SECONDS: Final = 60.0
_COUNTED_PER_SECOND: Final = 100_000


class QueueLimit:
    """The limit as one process keeps it. It protects the service and need not be exact.

    A count reads every queued job. So it is repeated only after this process has admitted a hundredth of the jobs
    that there was room for, or after a minute. A full queue of a hundred thousand jobs is counted once a second, and
    a short one at each request.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._admits, self._until = 0, 0.0
        self._refused: str | None = None

    def admit(self, s: Session) -> None:
        """Raise `QueueFullError` if the maximum of jobs already wait."""
        with self._lock:
            if time.monotonic() >= self._until or (self._admits <= 0 and self._refused is None):
                self._count(s)
            if self._refused is not None:
                raise QueueFullError(self._refused)
            self._admits -= 1

    def _count(self, s: Session) -> None:
        waiting = select(Job.id).where(has_status(Status.QUEUED)).limit(self._most).subquery()
        count = s.execute(
            select(func.count()).select_from(waiting), execution_options=tenancy.ALL_TENANTS
        ).scalar_one()
        if count < self._most:
            self._admits, self._refused = (self._most - count) // _SHARE_BETWEEN_COUNTS, None
            self._until = time.monotonic() + _COUNT_HOLDS_SECONDS
        else:
            self._refused = f"{count:,} jobs already wait, which is the maximum. Submit this job later."
            self._until = time.monotonic() + count / _COUNTED_PER_SECOND
