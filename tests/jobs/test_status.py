"""The table of moves against the contract's sentence, and what is derived from it."""

from jobs.status import ACTIONS, TERMINAL, TRANSITIONS, Action, Status, allowed_actions


def test_the_terminal_three() -> None:
    assert {Status.SUCCEEDED, Status.FAILED, Status.CANCELLED} == TERMINAL


def test_nothing_leaves_a_terminal_status() -> None:
    assert all(not TRANSITIONS[status] for status in TERMINAL)


def test_every_status_can_be_reached_and_has_a_row() -> None:
    assert set(TRANSITIONS) == set(Status)
    reached = {to for moves in TRANSITIONS.values() for to in moves}
    assert reached | {Status.QUEUED} == set(Status)


def test_each_status_says_what_can_be_asked_of_it() -> None:
    assert allowed_actions(Status.QUEUED) == ["cancel", "pause"]
    assert allowed_actions(Status.RUNNING) == ["cancel", "pause"]
    assert allowed_actions(Status.PAUSED) == ["cancel", "resume"]
    assert allowed_actions(Status.SUCCEEDED) == ["delete"]
    assert allowed_actions(Status.FAILED) == allowed_actions(Status.CANCELLED) == ["retry", "delete"]
    assert set(ACTIONS) == set(Action)


def test_what_was_asked_of_a_running_job_is_not_asked_again() -> None:
    assert allowed_actions(Status.RUNNING, pausing=True) == ["cancel", "resume"]
    assert allowed_actions(Status.RUNNING, cancelling=True) == []
    assert allowed_actions(Status.RUNNING, cancelling=True, pausing=True) == []
    assert allowed_actions(Status.QUEUED, pausing=True) == allowed_actions(Status.QUEUED)
