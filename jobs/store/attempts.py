"""Which writes of an attempt count.

An attempt's writes past the step from which its successor resumed are superseded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from jobs.models import Attempt

NO_LIMIT: Final = 2**62


def last_counted_steps(s: Session, job_id: str) -> Mapping[int, int]:
    """Return for each attempt the last step whose writes count (`NO_LIMIT` if none are superseded).

    Attempt 0 stands for what a retry took over from the job before it.
    """
    rows = s.execute(
        select(Attempt.attempt, Attempt.resumed_from_step)
        .where(Attempt.job_id == job_id)
        .order_by(Attempt.attempt.desc())
    )
    last, found = NO_LIMIT, {}
    for attempt, resumed_from in rows:
        found[attempt] = last
        if resumed_from is not None:
            last = min(last, resumed_from)
    return {0: last, **found}


def record_resume(s: Session, job_id: str, attempt: int, step: int) -> None:
    """Record the step from which this attempt resumes; 0 is from scratch."""
    s.execute(
        update(Attempt).where(Attempt.job_id == job_id, Attempt.attempt == attempt).values(resumed_from_step=step)
    )
