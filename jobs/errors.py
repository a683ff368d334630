"""Everything that can go wrong around the record, as one tree with stable codes.

    GantryError
    +-- NotFound ............ the id or name stands for nothing here
    +-- Conflict ............ the thing is there, but not in a state for this
    +-- Refused ............. whoever asks may not have this: no key, no scope, no quota left
    +-- Unavailable ......... a part of the service is down or busy; try again
    +-- Fenced .............. this attempt no longer holds the job; stop, write nothing
    +-- ArtifactLost ........ a file that the record names is missing or not what was written
    InvalidRequest(ValueError)  what the user sent cannot be; carries problems with pointers
    +-- OneProblem .......... with one thing wrong, whose code is the class's own
    SettingsError(ValueError)   a GANTRY_* variable cannot be

`api/http/problems.py` maps each class to its HTTP status; a test finds the one that was forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from gan.spec import SpecProblem


class GantryError(Exception):
    """Something the world did. `code` is stable and for machines, the message is for people."""

    code: ClassVar[str] = "internal"


class NotFoundError(GantryError):
    """An id or a name that stands for nothing here."""

    code = "not-found"
    what: ClassVar[str] = "thing"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no {self.what} {name[:200]!r}.")


class JobNotFoundError(NotFoundError):
    code, what = "job-not-found", "job"


class CheckpointNotFoundError(NotFoundError):
    code, what = "checkpoint-not-found", "checkpoint"


class PreviewNotFoundError(NotFoundError):
    code, what = "preview-not-found", "preview"


class DatasetNotFoundError(NotFoundError):
    code, what = "dataset-not-found", "data set"


class PresetNotFoundError(NotFoundError):
    code, what = "preset-not-found", "preset"


class WorkerNotFoundError(NotFoundError):
    code, what = "worker-not-found", "worker"


class KeyNotFoundError(NotFoundError):
    code, what = "key-not-found", "key that holds"


class TenantNotFoundError(NotFoundError):
    code, what = "tenant-not-found", "tenant"


class WebhookNotFoundError(NotFoundError):
    code, what = "webhook-not-found", "webhook"


class DeliveryNotFoundError(NotFoundError):
    code, what = "delivery-not-found", "delivery"


class ConflictError(GantryError):
    """The thing is there, but its state does not allow this."""

    code = "conflict"


class InvalidTransitionError(ConflictError):
    """An action that the job's status does not allow."""

    code = "invalid-transition"

    def __init__(self, action: str, current_status: str, allowed_actions: Sequence[str]) -> None:
        self.action, self.current_status, self.allowed_actions = action, current_status, list(allowed_actions)
        can = " or ".join(self.allowed_actions) or "nothing"
        super().__init__(f"A job that is {current_status} cannot take {action!r}; it can take {can}.")


class NoCheckpointError(ConflictError):
    """There is nothing to draw from or to go on from yet."""

    code = "no-checkpoint"


class DatasetInUseError(ConflictError):
    """Jobs on record name it: to be trained, drawn from by label, or retried."""

    code = "dataset-in-use"

    def __init__(self, name: str, job_id: str, count: int) -> None:
        more = f" and {count - 1:,} more" if count > 1 else ""
        super().__init__(
            f"The data set {name!r} is needed by {job_id}{more}: a job's classes are drawn from, and it can be "
            "retried. Delete the jobs first."
        )


class DatasetBuiltInError(ConflictError):
    """It is part of Gantry, and would be back after the next upgrade."""

    code = "dataset-built-in"

    def __init__(self, name: str) -> None:
        super().__init__(f"The data set {name!r} is part of Gantry and cannot be deleted.")


class DatasetExistsError(ConflictError):
    """The name is taken."""

    code = "dataset-exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a data set {name!r} already. Take another name, or delete that one first.")


class DatasetNotReadyError(ConflictError):
    """It is being validated, or has failed that."""

    code = "dataset-not-ready"

    def __init__(self, name: str, status: str) -> None:
        todo = "wait until it is ready" if status == "validating" else "its problems say what to mend"
        super().__init__(f"The data set {name!r} is {status}: {todo}.")


class DatasetAwayError(ConflictError):
    """Its images are not on this machine, or damaged; the message says what to install or do."""

    code = "dataset-away"


class RefusedError(GantryError):
    """Whoever asks may not have this."""

    code = "refused"


class MissingKeyError(RefusedError):
    code = "missing-api-key"

    def __init__(self) -> None:
        super().__init__("This service asks for a key: send it as `Authorization: Bearer gan_live_...`.")


class InvalidKeyError(RefusedError):
    """Unknown, mistyped, revoked or over: one answer for all, as which of them is nobody's business."""

    code = "invalid-api-key"

    def __init__(self) -> None:
        super().__init__("This key opens nothing here: it is unknown, revoked or over.")


class InsufficientScopeError(RefusedError):
    code = "insufficient-scope"

    def __init__(self, scope: str) -> None:
        self.scope = scope
        super().__init__(f"This needs a key with the scope {scope}.")


class QuotaExceededError(RefusedError):
    """A tenant has all that it may take at a time; `retry_after` seconds are worth waiting."""

    code = "quota-exceeded"
    retry_after: ClassVar[int] = 30


class QuotaUsedUpError(RefusedError):
    """A tenant has all that it may take; time does not help."""

    code = "quota-exceeded"


class RateLimitedError(RefusedError):
    """Too many requests of one key or of one tenant."""

    code = "rate-limited"

    def __init__(self, limit: str, retry_after: int, *, policy: str, name: str) -> None:
        self.retry_after, self.policy, self.name = retry_after, policy, name
        super().__init__(f"More than {limit}; go on in {retry_after} s.")


class WebhooksOffError(ConflictError):
    """This service calls nobody."""

    code = "webhooks-off"

    def __init__(self) -> None:
        super().__init__("Webhooks are off here; whoever runs the service turns them on with GANTRY_WEBHOOKS=true.")


class WebhookDisabledError(ConflictError):
    """It is told nothing until it is enabled again."""

    code = "webhook-disabled"

    def __init__(self, webhook_id: str) -> None:
        super().__init__(f'The webhook {webhook_id} is disabled. Enable it first: PATCH it with {{"enabled": true}}.')


class TooManyWebhooksError(ConflictError):
    """There is no room for one more."""

    code = "too-many-webhooks"

    def __init__(self, most: int) -> None:
        super().__init__(f"There are {most} webhooks already, which is the most that there may be. Delete one first.")


class UnavailableError(GantryError):
    """A part of the service is down or busy. `retry_after` seconds are worth waiting."""

    code = "unavailable"
    retry_after: ClassVar[int] = 5


class DatabaseUnavailableError(UnavailableError):
    code = "database-unavailable"


class MigrationsPendingError(UnavailableError):
    code = "migrations-pending"


class BrokerUnavailableError(UnavailableError):
    code = "broker-unavailable"


class SamplerUnavailableError(UnavailableError):
    code = "sampler-unavailable"


class BusyError(UnavailableError):
    """As much is under way as is let wait: how a part holds itself upright, not a fault of it."""


class SamplerBusyError(BusyError):
    code = "sampler-busy"
    retry_after = 2


class RenderingBusyError(BusyError):
    code = "pictures-busy"


class NameLookupBusyError(BusyError):
    code = "lookups-busy"


class UploadsBusyError(BusyError):
    code = "uploads-busy"
    retry_after = 30


class QueueFullError(BusyError):
    code = "queue-full"
    retry_after = 30


class FencedError(GantryError):
    """The job has moved on without this attempt: its lease ran out or it ended. Write nothing more."""

    code = "fenced"


class ArtifactLostError(GantryError):
    """A file that the record names is missing, or is not the bytes that were written."""

    code = "artifact-lost"


class InvalidRequestError(ValueError):
    """What the user sent cannot be. `problems` says where and what to do, `valid` names what would do."""

    code: ClassVar[str] = "invalid-request"

    def __init__(self, problems: Iterable[SpecProblem], *, valid: Sequence[str] = ()) -> None:
        self.problems, self.valid = tuple(problems), list(valid)
        super().__init__(" ".join(p.detail for p in self.problems))


class SingleProblemError(InvalidRequestError):
    """A request with one thing wrong, whose code is the class's own."""

    def __init__(self, pointer: str, detail: str, *, valid: Sequence[str] = ()) -> None:
        super().__init__([SpecProblem(pointer=pointer, code=self.code, detail=detail)], valid=valid)


class IdempotencyKeyReusedError(SingleProblemError):
    code = "idempotency-key-reused"

    def __init__(self, key: str) -> None:
        detail = f"The Idempotency-Key {key[:200]!r} stands for another request of the last 24 hours; take a new one."
        super().__init__("/Idempotency-Key", detail)


class UnknownDatasetError(SingleProblemError):
    code = "unknown-dataset"

    def __init__(self, name: str, valid: Sequence[str]) -> None:
        detail = f"There is no data set {name[:200]!r}. Take one of: {', '.join(valid)}."
        super().__init__("/dataset", detail, valid=valid)


class OverLimitError(SingleProblemError):
    """A spec that no device here could hold."""

    code = "over-limit"

    def __init__(self, needed_bytes: int, largest_bytes: int) -> None:
        detail = (
            f"The job needs about {needed_bytes / 2**30:,.3g} GiB of memory, and the largest device here has "
            f"{largest_bytes / 2**30:,.3g} GiB: lower batch_size, or the width of the networks."
        )
        super().__init__("/batch_size", detail)


class BadUploadError(InvalidRequestError):
    """An upload that cannot become a data set; each problem's code says of what kind it is."""

    code = "invalid-upload"


class UploadTooLargeError(SingleProblemError):
    code = "body-too-large"

    def __init__(self, most_mb: int) -> None:
        super().__init__("/file", f"The upload is larger than {most_mb:,} MB, which is the most that is taken here.")


class UrlNotAllowedError(SingleProblemError):
    """An address that the service does not call."""

    code = "url-not-allowed"

    def __init__(self, why: str) -> None:
        super().__init__("/url", f"The service does not call this url: {why}.")


class UnknownLabelError(SingleProblemError):
    code = "unknown-label"

    def __init__(self, label: str, valid: Sequence[str]) -> None:
        detail = f"There is no class {label[:200]!r}. Take one of these, or its id: {', '.join(valid)}."
        super().__init__("/label", detail, valid=valid)


class NotConditionalError(SingleProblemError):
    code = "not-conditional"

    def __init__(self) -> None:
        super().__init__("/label", "This generator was trained without labels, and draws no class: leave label out.")


class UnlabelledError(SingleProblemError):
    code = "unlabelled"

    def __init__(self) -> None:
        super().__init__("/label", "The images of this data set carry no labels: leave label out.")


class UnknownMetricError(SingleProblemError):
    code = "unknown-metric"

    def __init__(self, name: str, valid: Sequence[str]) -> None:
        detail = f"This job has no metric {name[:200]!r}. It has: {', '.join(valid) or 'none yet'}."
        super().__init__("/names", detail, valid=valid)


class BadCursorError(SingleProblemError):
    code = "bad-cursor"

    def __init__(self) -> None:
        super().__init__("/cursor", "This cursor was not made by this list; start again without one.")


class SettingsError(ValueError):
    """A GANTRY_* variable that cannot be; the message names it and says what would do."""
