"""Failures that depend on the state of the service: `GantryError` and its subclasses, and `SettingsError`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class GantryError(Exception):
    """A failure that the service expects. `code` is stable and for programs; the message is for people."""

    code: ClassVar[str] = "internal"


class NotFoundError(GantryError):
    """No object has this id or name."""

    code = "not-found"
    what: ClassVar[str] = "thing"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no {self.what} {name[:200]!r}.")


class JobNotFoundError(NotFoundError):
    """No job has this id."""

    code, what = "job-not-found", "job"


class CheckpointNotFoundError(NotFoundError):
    """No checkpoint has this id, or it was retired."""

    code, what = "checkpoint-not-found", "checkpoint"


class PreviewNotFoundError(NotFoundError):
    """The job has no preview of this step."""

    code, what = "preview-not-found", "preview"


class DatasetNotFoundError(NotFoundError):
    """No data set has this id or name."""

    code, what = "dataset-not-found", "data set"


class PresetNotFoundError(NotFoundError):
    """No preset has this name."""

    code, what = "preset-not-found", "preset"


class WorkerNotFoundError(NotFoundError):
    """No worker has this id."""

    code, what = "worker-not-found", "worker"


class KeyNotFoundError(NotFoundError):
    """No API key has this id, or it is no longer valid."""

    code, what = "key-not-found", "valid API key with the id"


class TenantNotFoundError(NotFoundError):
    """No tenant has this id."""

    code, what = "tenant-not-found", "tenant"


class WebhookNotFoundError(NotFoundError):
    """No webhook has this id."""

    code, what = "webhook-not-found", "webhook"


class DeliveryNotFoundError(NotFoundError):
    """The webhook has no delivery with this id."""

    code, what = "delivery-not-found", "delivery"


class ConflictError(GantryError):
    """The object exists, but its state does not allow the request."""

    code = "conflict"


class InvalidTransitionError(ConflictError):
    """The job's status does not allow this action."""

    code = "invalid-transition"

    def __init__(self, action: str, current_status: str, allowed_actions: Sequence[str]) -> None:
        self.action, self.current_status, self.allowed_actions = action, current_status, list(allowed_actions)
        allowed = ", ".join(self.allowed_actions) or "none"
        super().__init__(f"A job that is {current_status} does not allow {action!r}. Allowed actions: {allowed}.")


class NoCheckpointError(ConflictError):
    """The job has no checkpoint to draw from or to resume from yet."""

    code = "no-checkpoint"


class DatasetInUseError(ConflictError):
    """Jobs still need the data set: to train, to draw a class by its label, or to be retried."""

    code = "dataset-in-use"

    def __init__(self, name: str, job_id: str, count: int) -> None:
        more = f" and {count - 1:,} more" if count > 1 else ""
        super().__init__(
            f"The data set {name!r} is used by {job_id}{more}. A job needs its data set to draw classes and to be "
            "retried. Delete the jobs first."
        )


class DatasetBuiltInError(ConflictError):
    """A built-in data set cannot be deleted: the next upgrade would register it again."""

    code = "dataset-built-in"

    def __init__(self, name: str) -> None:
        super().__init__(f"The data set {name!r} is built into Gantry and cannot be deleted.")


class DatasetExistsError(ConflictError):
    """Another data set already has this name."""

    code = "dataset-exists"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"A data set named {name!r} already exists. Choose another name, or delete that data set first."
        )


class DatasetNotReadyError(ConflictError):
    """The data set is still being validated, its validation failed, or it is not installed."""

    code = "dataset-not-ready"

    def __init__(self, name: str, status: str, why_not_installed: str = "") -> None:
        if why_not_installed:
            message = f"The data set {name!r} is not ready. {why_not_installed}"
        elif status == "validating":
            message = f"The data set {name!r} is still being validated. Wait until it is ready."
        else:
            message = f"The validation of the data set {name!r} failed. Its problems say what to fix."
        super().__init__(message)


class DatasetAwayError(ConflictError):
    """The images are damaged or not on this machine. The message says what to install or do."""

    code = "dataset-away"


class RefusedError(GantryError):
    """The caller may not do this."""

    code = "refused"


class MissingKeyError(RefusedError):
    """The request has no API key, but the service requires one."""

    code = "missing-api-key"

    def __init__(self) -> None:
        super().__init__(
            "This service requires an API key. Send it in the header `Authorization: Bearer gan_live_...`."
        )


class InvalidKeyError(RefusedError):
    """The key is unknown, mistyped, revoked or expired.

    All four cases get the same response, so that a caller cannot find out which keys exist.
    """

    code = "invalid-api-key"

    def __init__(self) -> None:
        super().__init__("This API key is not valid. It is unknown, revoked or expired.")


class InsufficientScopeError(RefusedError):
    """The API key lacks the scope that the request needs."""

    code = "insufficient-scope"

    def __init__(self, scope: str) -> None:
        self.scope = scope
        super().__init__(f"This request needs an API key with the scope {scope}.")


class QuotaExceededError(RefusedError):
    """The tenant has reached a limit that is free again later. `retry_after` is the wait to suggest, s."""

    code = "quota-exceeded"
    retry_after: ClassVar[int] = 30


class QuotaUsedUpError(RefusedError):
    """The tenant has used up a limit that does not become free with time."""

    code = "quota-exceeded"


class RateLimitedError(RefusedError):
    """One key or one tenant has sent too many requests."""

    code = "rate-limited"

    def __init__(self, limit: str, retry_after: int, *, policy: str, name: str) -> None:
        self.retry_after, self.policy, self.name = retry_after, policy, name
        super().__init__(f"Too many requests: more than {limit}. Try again in {retry_after} s.")


class WebhooksOffError(ConflictError):
    """Webhooks are turned off on this service."""

    code = "webhooks-off"

    def __init__(self) -> None:
        super().__init__(
            "Webhooks are turned off on this service. The operator can turn them on with GANTRY_WEBHOOKS=true."
        )


class WebhookDisabledError(ConflictError):
    """The webhook gets no deliveries until it is enabled again."""

    code = "webhook-disabled"

    def __init__(self, webhook_id: str) -> None:
        super().__init__(
            f'The webhook {webhook_id} is disabled. Enable it first: send PATCH with {{"enabled": true}}.'
        )


class TooManyWebhooksError(ConflictError):
    """The tenant has the maximum number of webhooks."""

    code = "too-many-webhooks"

    def __init__(self, most: int) -> None:
        super().__init__(f"There are already {most} webhooks, which is the maximum. Delete one first.")


class UnavailableError(GantryError):
    """A part of the service is down or busy. `retry_after` is the wait to suggest, s."""

    code = "unavailable"
    retry_after: ClassVar[int] = 5


class DatabaseUnavailableError(UnavailableError):
    """The database cannot be reached, or does not respond in time."""

    code = "database-unavailable"


class MigrationsPendingError(UnavailableError):
    """The schema of the database has another version than this code."""

    code = "migrations-pending"


class BrokerUnavailableError(UnavailableError):
    """The broker cannot be reached, or accepts no messages."""

    code = "broker-unavailable"


class SamplerUnavailableError(UnavailableError):
    """The sampler cannot be reached, or does not respond in time."""

    code = "sampler-unavailable"


class BusyError(UnavailableError):
    """A part of the service is at its limit. It protects itself; nothing is broken."""


class SamplerBusyError(BusyError):
    """The maximum number of requests already waits in the sampler."""

    code = "sampler-busy"
    retry_after = 2


class RenderingBusyError(BusyError):
    """The maximum number of plots is already being drawn."""

    code = "pictures-busy"


class NameLookupBusyError(BusyError):
    """The maximum number of host names is already being looked up."""

    code = "lookups-busy"


class UploadsBusyError(BusyError):
    """The maximum number of uploads is already being received or checked."""

    code = "uploads-busy"
    retry_after = 30


class QueueFullError(BusyError):
    """The maximum number of jobs already waits in the queue."""

    code = "queue-full"
    retry_after = 30


class FencedError(GantryError):
    """The job no longer belongs to this attempt: the lease expired or the job ended. Write nothing more."""

    code = "fenced"


class ArtifactLostError(GantryError):
    """A recorded file is missing, or its bytes are not those that were written."""

    code = "artifact-lost"


class SettingsError(ValueError):
    """A GANTRY_* variable whose value is not valid. The message names it and says what is accepted."""
