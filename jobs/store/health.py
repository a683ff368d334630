"""What the trainer makes of a run: the verdict and the findings that hold, as of its last look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy.orm import Session

from jobs.models import Job
from jobs.store import events

FINDING: Final = "health.finding"


def record(
    s: Session,
    job_id: str,
    attempt: int,
    step: int,
    verdict: str,
    findings: Sequence[dict[str, Any]],
    raised: Sequence[dict[str, Any]] = (),
) -> None:
    """Write the job's health as of `step`, and an event for each finding that was `raised`; inside a fenced
    transaction. Where the verdict changes and nothing was raised, that has an event of the same shape.

    Safe to repeat: what is there already is not written again.
    """
    job = s.get_one(Job, job_id)
    before, now = job.health, {"verdict": verdict, "findings": list(findings)}
    if now == before:
        return
    job.health = now
    told = list(raised)
    if not told and verdict != before["verdict"]:
        told = [_turn(step, before["verdict"], verdict)]
    for finding in told:
        events.record(s, job_id, FINDING, {**finding, "verdict": verdict}, attempt=attempt)


def _turn(step: int, before: str, now: str) -> dict[str, Any]:
    """That the verdict is another one, told as a finding."""
    return {
        "code": "verdict",
        "severity": "info",
        "began_at_step": step,
        "found_at_step": step,
        "message": f"The verdict is {now} now; it was {before}.",
        "evidence": [],
        "remedy": [],
    }
