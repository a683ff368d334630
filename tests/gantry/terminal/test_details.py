"""Jobs as text."""

from __future__ import annotations

import pytest

from gantry.terminal.details import health_report, status_text


@pytest.mark.parametrize(
    ("status", "attempt", "reason", "actions", "text"),
    [
        ("running", 1, None, ["cancel", "pause"], "running"),
        ("running", 2, {"code": "worker_lost"}, ["cancel", "pause"], "attempt 2"),
        ("running", 2, {"code": "preparing"}, ["cancel", "pause"], "preparing"),
        ("running", 2, {"code": "preparing"}, ["cancel", "resume"], "pausing"),
        ("running", 1, None, [], "cancelling"),
        ("paused", 2, None, ["cancel", "resume"], "paused"),
        ("succeeded", 1, {"code": "stopped_early"}, ["delete"], "succeeded"),
    ],
)
def test_a_status_is_one_or_two_words(
    status: str, attempt: int, reason: dict[str, str] | None, actions: list[str], text: str
) -> None:
    job = {
        "queue": None,
        "status": status,
        "attempt": attempt,
        "status_reason": reason,
        "allowed_actions": actions,
    }
    assert status_text(job) == text


@pytest.mark.parametrize(
    ("health", "shown"),
    [
        ({"verdict": "unknown", "reason": "not_checked", "message": "No check has run yet."}, ""),
        ({"verdict": "unknown"}, ""),
        (
            {"verdict": "unknown", "reason": "still_learning", "message": "Nothing recognisable yet: 27 steps."},
            "Verdict: still learning. Nothing recognisable yet: 27 steps.",
        ),
        ({"verdict": "healthy", "reason": None, "message": "Recognisable."}, "Verdict: healthy. Recognisable."),
    ],
)
def test_a_verdict_is_shown_with_what_a_person_would_see(health: dict[str, str | None], shown: str) -> None:
    assert health_report({"id": "j", "health": {"findings": [], **health}}) == shown
