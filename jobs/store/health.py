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
    *,
    message: str = "",
    reason: str | None = None,
    missing: Sequence[dict[str, Any]] = (),
) -> None:
    """Write the job's health as of `step`, and an event for each finding in `raised`; inside a fenced transaction.

    `message` says the verdict in one sentence. `reason` and `missing` say why it is unknown, if it is. If the verdict
    changes and nothing was raised, an event of the same shape reports the change. Safe to repeat: a health that is
    already stored is not written again.
    """
    job = s.get_one(Job, job_id)
    before = job.health
    now = {"verdict": verdict, "reason": reason, "message": message, "missing": list(missing)}
    now["findings"] = list(findings)
    if now == before:
        return
    job.health = now
    reported = list(raised)
    if not reported and verdict != before["verdict"]:
        reported = [_verdict_change(step, f"The verdict changed from {before['verdict']} to {verdict}. {message}")]
    for finding in reported:
        events.record(s, job_id, FINDING, {**finding, "verdict": verdict}, attempt=attempt)


def _verdict_change(step: int, message: str) -> dict[str, Any]:
    """Return the change of the verdict in the form of a finding."""
    return {
        "code": "verdict",
        "severity": "info",
        "began_at_step": step,
        "found_at_step": step,
        "message": message.rstrip(),
        "evidence": [],
        "remedy": [],
    }
