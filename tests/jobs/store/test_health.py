"""Tests of the health of a job: its verdict, its findings, and the events for them."""

from __future__ import annotations

from typing import Any

from jobs import leases
from jobs.db import Database
from jobs.models import NO_VERDICT
from jobs.store import events, health, jobs
from tests.jobs.helpers import submit

FOUND: dict[str, Any] = {
    "code": "mode_collapse",
    "severity": "critical",
    "began_at_step": 400,
    "found_at_step": 500,
    "message": "All images look the same.",
    "evidence": [{"metric": "diversity", "value": 0.1, "threshold": 0.2}],
    "remedy": [{"pointer": "/generator/z_dim", "value": 128, "why": "More to draw from."}],
}


def _claim(db: Database) -> str:
    submit(db)
    with db.write() as s:
        job = leases.claim(s, "w1", "cpu", 0, 30)
    assert job is not None
    return job.id


def _record(db: Database, job_id: str, step: int, verdict: str, *findings: Any, raised: Any = ()) -> None:
    with db.write() as s:
        leases.fence(s, job_id, 1, 30)
        health.record(s, job_id, 1, step, verdict, findings, raised, message=f"Seen at {step}.")


def _events(db: Database, job_id: str) -> list[dict[str, Any]]:
    with db.read() as s:
        return [event.data for event in events.page(s, job_id, 0, 100) if event.type == "health.finding"]


def _health(db: Database, job_id: str) -> dict[str, Any]:
    with db.read() as s:
        return jobs.get(s, job_id).health


def test_a_job_without_a_check_has_no_verdict(db: Database) -> None:
    job_id = _claim(db)
    assert _health(db, job_id) == NO_VERDICT
    assert (NO_VERDICT["verdict"], NO_VERDICT["reason"]) == ("unknown", "not_checked")


def test_a_finding_is_stored_and_reported_once(db: Database) -> None:
    job_id = _claim(db)
    for _ in range(2):
        _record(db, job_id, 500, "failing", FOUND, raised=(FOUND,))
    assert _health(db, job_id) == {
        "verdict": "failing", "reason": None, "message": "Seen at 500.", "missing": [], "findings": [FOUND]
    }  # fmt: skip
    assert _events(db, job_id) == [{**FOUND, "verdict": "failing"}]


def test_a_change_of_the_verdict_alone_is_reported_in_the_same_shape(db: Database) -> None:
    job_id = _claim(db)
    _record(db, job_id, 100, "healthy")
    _record(db, job_id, 500, "failing", FOUND, raised=(FOUND,))
    _record(db, job_id, 900, "healthy")
    first, _, last = _events(db, job_id)
    assert first.keys() == last.keys() == {*FOUND, "verdict"}
    assert (last["code"], last["found_at_step"], last["verdict"]) == ("verdict", 900, "healthy")
    assert last["message"] == "The verdict changed from failing to healthy. Seen at 900."
    assert _health(db, job_id)["findings"] == []


def test_a_finding_that_ends_while_another_holds_is_not_reported(db: Database) -> None:
    job_id = _claim(db)
    other = {**FOUND, "code": "divergence"}
    _record(db, job_id, 500, "failing", FOUND, other, raised=(FOUND, other))
    _record(db, job_id, 600, "failing", other)
    assert len(_events(db, job_id)) == 2 and _health(db, job_id)["findings"] == [other]
