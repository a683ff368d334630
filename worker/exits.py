"""How a trainer ends: its exit codes, what each means for the job, and the note it leaves behind.

The trainer returns one of these; the supervisor reads the table. The numbers are those of BSD's sysexits.h where
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
    """What the trainer process returns."""

    SUCCEEDED = 0
    INTERNAL = 1
    """What Python itself returns for an exception that nobody foresaw; its traceback is in the attempt's log."""
    DIVERGED = 65
    DATASET_INVALID = 66
    NO_DEVICE = 69
    OUT_OF_MEMORY = 71
    DISK_FULL = 73
    CHECKPOINT_CORRUPT = 74
    STOPPED = 75
    """Asked to stop, or fenced: what there was to save is saved, and another attempt may go on."""
    STATE_MISMATCH = 76
    BAD_SPEC = 78
    STOPPED_EARLY = 79
    """A success too: the job's safeguards have ended it before its last step."""


@dataclass(frozen=True)
class Failure:
    """Why a job failed, as `error` of api.md; `retryable` says whether the same job may do better another time."""

    code: str
    message: str
    retryable: bool
    step: int | None = None
    hint: str | None = None

    def error(self) -> dict[str, object]:
        """As it is stored in the job."""
        return asdict(self)


TRY_AGAIN: Final = frozenset({Exit.INTERNAL, Exit.NO_DEVICE, Exit.OUT_OF_MEMORY, Exit.DISK_FULL})
"""Failures that another attempt may not meet; the others end the job at once."""

FAILURES: Final[dict[Exit, Failure]] = {
    Exit.INTERNAL: Failure(
        "internal",
        "The trainer met an error that it has no name for.",
        True,
        hint="The attempt's log holds the traceback; please report it.",
    ),
    Exit.DIVERGED: Failure(
        "diverged",
        "The losses or weights are no longer finite numbers.",
        False,
        hint="Lower optimizers.g.learning_rate and optimizers.d.learning_rate, or take a preset's numbers.",
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
        "The device has not enough memory for this job.",
        True,
        hint="Lower batch_size or the networks' widths, or give it a larger device.",
    ),
    Exit.DISK_FULL: Failure(
        "disk_full",
        "There is no room on the service's disk for a checkpoint.",
        True,
        hint="Free space in the data folder: delete jobs that nobody needs. Then `gantry retry JOB` goes on.",
    ),
    Exit.CHECKPOINT_CORRUPT: Failure(
        "checkpoint_corrupt",
        "None of the job's checkpoints can be read any more, so there is nothing to go on from.",
        False,
        hint="`gantry retry JOB --from-scratch` trains anew; look after the disk first.",
    ),
    # The contract's nearest word; nothing is wrong with the disk.
    Exit.STATE_MISMATCH: Failure(
        "checkpoint_corrupt",
        "The job's checkpoint was made with another spec, data set or version of this service.",
        False,
        hint="`gantry retry JOB --from-scratch` trains anew.",
    ),
    Exit.BAD_SPEC: Failure(
        "internal",
        "This worker cannot read the job's spec.",
        False,
        hint="The worker may be older or newer than the service that took the job; bring both to one version.",
    ),
}


def leave_reason(artifacts: Storage, key: str, why: str) -> None:
    """Write why the trainer has ended early, for the supervisor to put into the job."""
    artifacts.put_bytes(key, json.dumps(why).encode())


def read_reason(artifacts: Storage, key: str) -> dict[str, str]:
    """Why a trainer ended early, as `status_reason` of api.md; a plain sentence when it could not write."""
    try:
        why = str(json.loads(artifacts.read_bytes(key)))
    except (ArtifactLostError, ValueError):
        why = "The job's safeguards ended it before its last step."
    return {"code": "stopped_early", "message": why}


def leave_note(artifacts: Storage, key: str, failure: Failure) -> None:
    """Write the trainer's last words, for the supervisor to put into the job."""
    artifacts.put_bytes(key, json.dumps(failure.error()).encode())


def read_note(artifacts: Storage, key: str, code: Exit) -> Failure:
    """What the trainer said of its end, or what the exit code says when it could not write."""
    try:
        return Failure(**json.loads(artifacts.read_bytes(key)))
    except (ArtifactLostError, ValueError, TypeError):
        return FAILURES[code]


def unforeseen(returncode: int, last_line: str) -> Failure:
    """Of an end that is in no table: a signal, or a code that the trainer does not use."""
    how = f"was ended by {_signal_name(-returncode)}" if returncode < 0 else f"ended with code {returncode}"
    said = f" Last line of its log: {last_line}" if last_line else " It logged nothing."
    killed = returncode == -signal.SIGKILL
    hint = "The system may have run out of memory: lower batch_size or the networks' widths." if killed else None
    return Failure("trainer_crashed", f"The trainer {how}.{said}", True, hint=hint)


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
