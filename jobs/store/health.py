"""The health of a job: the verdict and the current findings of its last check."""

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
    """Write the job's health as of `step`, and an event for each finding in `raised`; inside a fenced transaction.

    If the verdict changes and nothing was raised, an event of the same shape reports the change. Safe to repeat: a
    health that is already stored is not written again.
    """
    job = s.get_one(Job, job_id)
    before, now = job.health, {"verdict": verdict, "findings": list(findings)}
    if now == before:
        return
    job.health = now
    reported = list(raised)
    if not reported and verdict != before["verdict"]:
        reported = [_verdict_change(step, before["verdict"], verdict)]
    for finding in reported:
        events.record(s, job_id, FINDING, {**finding, "verdict": verdict}, attempt=attempt)


def _verdict_change(step: int, before: str, now: str) -> dict[str, Any]:
    """Return the change of the verdict in the form of a finding."""
    return {
        "code": "verdict",
        "severity": "info",
        "began_at_step": step,
        "found_at_step": step,
        "message": f"The verdict changed from {before} to {now}.",
        "evidence": [],
        "remedy": [],
    }
