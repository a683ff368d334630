"""What a job can be, and which moves there are. Everything else about statuses is derived from these tables."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """Where a job stands. A request to cancel or to pause is a flag beside it, not a status."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Action(StrEnum):
    """What a person may ask of a job."""

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


# Saving a checkpoint moves the job nowhere, and has an address of its own.
_MOVING: Final = tuple(action for action in Action if action is not Action.SAVE_CHECKPOINT)


def allowed_actions(status: Status, *, cancelling: bool = False, pausing: bool = False) -> list[str]:
    """The actions that would move a job of this status, in the order of `Action`.

    `cancelling`, `pausing`: it runs, and was asked to; a pause that has not come about yet can be taken back.
    """
    if status is Status.RUNNING and cancelling:
        return []
    if status is Status.RUNNING and pausing:
        return [Action.CANCEL.value, Action.RESUME.value]
    return [action.value for action in _MOVING if status in ACTIONS[action]]
