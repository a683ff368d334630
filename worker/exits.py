"""How a trainer ends: its exit codes, what each means for the job, and the note that it leaves behind.

The trainer returns one of these codes; the supervisor looks it up. The numbers are those of BSD's sysexits.h where
one fits.
"""

from __future__ import annotations

import json
import signal
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Final

from jobs.errors import ArtifactLostError
from jobs.storage import Storage


class Exit(IntEnum):
    """The exit code of a trainer process."""

    SUCCEEDED = 0
    INTERNAL = 1
    """Python's own code for an uncaught exception. The traceback is in the attempt's log."""
    DIVERGED = 65
    DATASET_INVALID = 66
    NO_DEVICE = 69
    OUT_OF_MEMORY = 71
    DISK_FULL = 73
    CHECKPOINT_CORRUPT = 74
    STOPPED = 75
    """Stopped on request, or fenced: the checkpoint is saved, and another attempt may continue."""
    STATE_MISMATCH = 76
    BAD_SPEC = 78
    STOPPED_EARLY = 79
    """A success: the job's safeguards ended it before its last step."""


@dataclass(frozen=True)
class Failure:
    """Why a job failed: the field `error` of the job. `retryable`: the same job may succeed another time."""

    code: str
    message: str
    retryable: bool
    step: int | None = None
    hint: str | None = None

    def error(self) -> dict[str, object]:
        """Return the JSON value that is stored in the job."""
        return asdict(self)


TRY_AGAIN: Final = frozenset({Exit.INTERNAL, Exit.NO_DEVICE, Exit.OUT_OF_MEMORY, Exit.DISK_FULL})
"""Failures that another attempt may avoid. All others end the job at once."""

FAILURES: Final[dict[Exit, Failure]] = {
    Exit.INTERNAL: Failure(
        "internal",
        "The trainer stopped with an unexpected error.",
        True,
        hint="The attempt's log holds the traceback; please report it.",
    ),
    Exit.DIVERGED: Failure(
        "diverged",
        "The losses or weights are no longer finite numbers.",
        False,
        hint="Lower optimizers.g.learning_rate and optimizers.d.learning_rate, or use the values of a preset.",
    ),
    Exit.DATASET_INVALID: Failure(
        "dataset_invalid",
        "The data set cannot be read or does not fit the spec.",
        False,
        hint="Install or upload the data set again, or train on another one.",
    ),
    Exit.NO_DEVICE: Failure(
        "internal",
        "The worker's GPU cannot be used.",
        True,
        hint="Install a CUDA build of torch beside the worker, or ask for resources.gpus 0.",
    ),
    Exit.OUT_OF_MEMORY: Failure(
        "out_of_memory",
        "The device does not have enough memory for this job.",
        True,
        hint="Lower batch_size or the widths of the networks, or use a device with more memory.",
    ),
    Exit.DISK_FULL: Failure(
        "disk_full",
        "The disk of the service has no room for a checkpoint.",
        True,
        hint="Free space in the data folder, for example by deleting jobs. Then `gantry retry JOB` continues.",
    ),
    Exit.CHECKPOINT_CORRUPT: Failure(
        "checkpoint_corrupt",
        "None of the job's checkpoints can be read, so the job cannot continue.",
        False,
        hint="Check the disk first. Then `gantry retry JOB --from-scratch` starts again from the first step.",
    ),
    # The closest code of the HTTP interface, although the disk is fine.
    Exit.STATE_MISMATCH: Failure(
        "checkpoint_corrupt",
        "The job's checkpoint was made with another spec, data set or version of this service.",
        False,
        hint="`gantry retry JOB --from-scratch` starts again from the first step.",
    ),
    Exit.BAD_SPEC: Failure(
        "internal",
        "This worker cannot read the job's spec.",
        False,
        hint="The worker may be older or newer than the service that accepted the job. Install one version of both.",
    ),
}


def leave_reason(artifacts: Storage, key: str, why: str) -> None:
    """Write why the trainer ended early. The supervisor stores it in the job."""
    artifacts.put_bytes(key, json.dumps(why).encode())


def read_reason(artifacts: Storage, key: str) -> dict[str, str]:
    """Return why a trainer ended early, as the job's `status_reason`; a general sentence if there is no note."""
    try:
        why = str(json.loads(artifacts.read_bytes(key)))
    except (ArtifactLostError, ValueError):
        why = "The job's safeguards ended it before its last step."
    return {"code": "stopped_early", "message": why}


def leave_note(artifacts: Storage, key: str, failure: Failure) -> None:
    """Write why the trainer failed. The supervisor stores it in the job."""
    artifacts.put_bytes(key, json.dumps(failure.error()).encode())


def read_note(artifacts: Storage, key: str, code: Exit) -> Failure:
    """Return the failure that the trainer noted; that of its exit code if there is no note."""
    try:
        return Failure(**json.loads(artifacts.read_bytes(key)))
    except (ArtifactLostError, ValueError, TypeError):
        return FAILURES[code]


def unexpected_end(returncode: int, last_line: str) -> Failure:
    """Return the failure for a signal, or for an exit code that the trainer does not use."""
    how = f"was ended by {_signal_name(-returncode)}" if returncode < 0 else f"ended with code {returncode}"
    output = f" Last line of its log: {last_line}" if last_line else " It logged nothing."
    killed = returncode == -signal.SIGKILL
    hint = (
        "The system may have run out of memory: lower batch_size or the widths of the networks." if killed else None
    )
    return Failure("trainer_crashed", f"The trainer {how}.{output}", True, hint=hint)


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
