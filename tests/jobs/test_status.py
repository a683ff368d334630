"""Tests of the table of transitions and of what is derived from it."""

from jobs.status import ACTIONS, TERMINAL, TRANSITIONS, Action, Status, allowed_actions


def test_three_statuses_are_terminal() -> None:
    assert {Status.SUCCEEDED, Status.FAILED, Status.CANCELLED} == TERMINAL


def test_nothing_leaves_a_terminal_status() -> None:
    assert all(not TRANSITIONS[status] for status in TERMINAL)


def test_every_status_can_be_reached_and_has_a_row() -> None:
    assert set(TRANSITIONS) == set(Status)
    reached = {to for targets in TRANSITIONS.values() for to in targets}
    assert reached | {Status.QUEUED} == set(Status)


def test_each_status_has_its_allowed_actions() -> None:
    assert allowed_actions(Status.QUEUED) == ["cancel", "pause"]
    assert allowed_actions(Status.RUNNING) == ["cancel", "pause"]
    assert allowed_actions(Status.PAUSED) == ["cancel", "resume"]
    assert allowed_actions(Status.SUCCEEDED) == ["delete"]
    assert allowed_actions(Status.FAILED) == allowed_actions(Status.CANCELLED) == ["retry", "delete"]
    assert set(ACTIONS) == set(Action)


def test_a_requested_action_is_not_offered_again() -> None:
    assert allowed_actions(Status.RUNNING, pausing=True) == ["cancel", "resume"]
    assert allowed_actions(Status.RUNNING, cancelling=True) == []
    assert allowed_actions(Status.RUNNING, cancelling=True, pausing=True) == []
    assert allowed_actions(Status.QUEUED, pausing=True) == allowed_actions(Status.QUEUED)
