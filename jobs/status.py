"""The statuses of a job and the transitions between them. All other rules about statuses derive from these tables."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """The status of a job. A request to cancel or to pause is a flag beside it, not a status."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Action(StrEnum):
    """An action that a caller may request for a job."""

    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    DELETE = "delete"
    SAVE_CHECKPOINT = "save_checkpoint"


TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED, Status.PAUSED}),
    Status.RUNNING: frozenset(
        {Status.QUEUED, Status.PAUSED, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED},
    ),
    Status.PAUSED: frozenset({Status.QUEUED, Status.CANCELLED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
}

TERMINAL: Final = frozenset(status for status, to in TRANSITIONS.items() if not to)

ACTIONS: Final[dict[Action, frozenset[Status]]] = {
    Action.CANCEL: frozenset({Status.QUEUED, Status.RUNNING, Status.PAUSED}),
    Action.PAUSE: frozenset({Status.QUEUED, Status.RUNNING}),
    Action.RESUME: frozenset({Status.PAUSED}),
    Action.RETRY: frozenset({Status.FAILED, Status.CANCELLED}),
    Action.DELETE: TERMINAL,
    Action.SAVE_CHECKPOINT: frozenset({Status.RUNNING}),
}


# Saving a checkpoint does not change the status, and has a path of its own.
_STATUS_CHANGING: Final = tuple(action for action in Action if action is not Action.SAVE_CHECKPOINT)


def allowed_actions(status: Status, *, cancelling: bool = False, pausing: bool = False) -> list[str]:
    """Return the actions that would change a job of this status, in the order of `Action`.

    `cancelling`, `pausing`: the job is running and this was requested. A pause that has not happened yet can be
    withdrawn.
    """
    if status is Status.RUNNING and cancelling:
        return []
    if status is Status.RUNNING and pausing:
        return [Action.CANCEL.value, Action.RESUME.value]
    return [action.value for action in _STATUS_CHANGING if status in ACTIONS[action]]
