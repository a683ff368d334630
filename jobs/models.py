"""The tables. `migrations/` reads them; `jobs/store/` is the only place that queries them.

Times are seconds since 1970 by the database's own clock, as doubles: one type and one arithmetic on SQLite and
PostgreSQL, and no worker's clock is ever compared with another's.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from jobs.status import TERMINAL, Status

_STATUSES = ", ".join(f"'{s.value}'" for s in Status)
_ENDED = ", ".join(f"'{s.value}'" for s in sorted(TERMINAL))

NO_VERDICT: Final[dict[str, Any]] = {"verdict": "unknown", "findings": []}
"""A job's health before anybody has looked at it."""


class Base(DeclarativeBase):
    """Names every constraint, so that a migration can speak of it on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: BigInteger(),
        float: Double(),
        dict[str, Any]: JSON(none_as_null=True),
        list[Any]: JSON(none_as_null=True),
    }


DEFAULT_TENANT: Final = "default"
"""Whose everything is where nobody is asked for a key."""
SHARED: Final = ""
"""In the place of a tenant: of the data sets that are part of Gantry, which are everybody's."""


class OfTenant:
    """A row that belongs to a tenant. A session of `jobs.db` that is opened for one sees that one's rows alone."""

    tenant: Mapped[str] = mapped_column(String(40), default=DEFAULT_TENANT, server_default=DEFAULT_TENANT)


class OfJob:
    """A row that belongs to a job, and with it to a tenant."""

    job_id: Mapped[str] = mapped_column()


class Tenant(Base):
    """Somebody whose jobs are nobody else's, and what they may take: null is no limit."""

    __tablename__ = "tenants"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    max_queued: Mapped[int | None]
    """Jobs that wait or are paused."""
    max_running: Mapped[int | None]
    device_hours: Mapped[float | None]
    """That its jobs may run altogether: an hour of a job with two GPUs is two."""
    storage_mb: Mapped[int | None]
    """Of checkpoints, previews and data sets, MB."""
    device_seconds: Mapped[float] = mapped_column(default=0.0, server_default="0")
    """That its jobs have run so far, those that are over."""
    served_at: Mapped[float] = mapped_column(default=0.0, server_default="0")
    """When a job of its was last claimed: who has waited longest is next."""
    created_at: Mapped[float]


class ApiKey(Base):
    """A key to the API: of the key itself only its first eight characters and its sha256 are kept."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(100))
    handle: Mapped[str] = mapped_column(String(8), unique=True)
    sha256: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[Any]]
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    revoked_at: Mapped[float | None]
    last_used_at: Mapped[float | None]


class Job(OfTenant, Base):
    """One durable request to train. `attempt` is the fencing token: each claim raises it, nothing lowers it.

    Migration 0003 adds a trigger: what has ended does not change any more, and `attempt` never falls.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(f"status in ({_STATUSES})", name="status_known"),
        CheckConstraint("(status = 'running') = (lease_until is not null)", name="lease_while_running"),
        CheckConstraint(f"(status in ({_ENDED})) = (finished_at is not null)", name="finished_when_terminal"),
        # In the order of a claim, and with all that counts: neither a claim nor a place in the queue sorts all that
        # wait, and a place is told from the index alone.
        Index("ix_jobs_claim", "status", "tenant", text("priority DESC"), "created_at", "id", "gpus"),
        Index("ix_jobs_finished_at", "finished_at"),
        Index("ix_jobs_lease", "status", "lease_until"),
        Index("ix_jobs_tenant_id", "tenant", "id"),
        Index("ix_jobs_tenant_status_id", "tenant", "status", "id"),
        Index("ix_jobs_tenant_dataset_id", "tenant", "dataset", "id"),
        Index("ix_jobs_tenant_preset_id", "tenant", "preset", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str | None] = mapped_column(String(200))
    labels: Mapped[dict[str, Any]]
    spec: Mapped[dict[str, Any]]
    dataset: Mapped[str] = mapped_column(String(200))
    preset: Mapped[str] = mapped_column(String(200))
    gpus: Mapped[int]
    priority: Mapped[int]
    max_attempts: Mapped[int]
    retry_of: Mapped[str | None] = mapped_column(String(40))

    status: Mapped[str] = mapped_column(String(16), default=Status.QUEUED.value)
    status_reason: Mapped[dict[str, Any] | None]
    """{"code", "message"}, or null."""
    error: Mapped[dict[str, Any] | None]
    """Failed: {"code", "message", "retryable", "step", "hint"}."""
    cancel_requested_at: Mapped[float | None]
    pause_requested_at: Mapped[float | None]
    checkpoint_requested_at: Mapped[float | None]

    attempt: Mapped[int] = mapped_column(default=0)
    crashes: Mapped[int] = mapped_column(default=0)
    lease_owner: Mapped[str | None] = mapped_column(String(80))
    lease_until: Mapped[float | None]
    heartbeat_at: Mapped[float | None]
    device: Mapped[str | None] = mapped_column(String(200))
    max_runtime_seconds: Mapped[int | None]
    ran_seconds: Mapped[float] = mapped_column(default=0.0, server_default="0")
    """What the attempts that are over have run, by the database's clock."""
    claimed_at: Mapped[float | None]
    """When the attempt that runs was claimed."""
    not_before: Mapped[float] = mapped_column(default=0.0)
    published_at: Mapped[float | None]

    step: Mapped[int] = mapped_column(default=0)
    total_steps: Mapped[int]
    images_seen: Mapped[int] = mapped_column(default=0)
    images_per_second: Mapped[float | None]
    progress_at: Mapped[float | None]
    latest_metrics: Mapped[dict[str, Any]] = mapped_column(default=dict)
    health: Mapped[dict[str, Any]] = mapped_column(
        default=lambda: dict(NO_VERDICT), server_default=json.dumps(NO_VERDICT)
    )
    """{"verdict", "findings"}: what the trainer makes of the run, as of the step that it last looked at."""
    event_seq: Mapped[int] = mapped_column(default=0)

    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]


class Attempt(OfJob, Base):
    """One execution of a job. What it wrote past `resumed_from_step` of its successor is superseded."""

    __tablename__ = "attempts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    worker_id: Mapped[str] = mapped_column(String(80))
    device: Mapped[str] = mapped_column(String(200))
    resumed_from_step: Mapped[int | None]
    """Step of the checkpoint it went on from, 0 from scratch; null until the trainer has said so."""
    started_at: Mapped[float]
    ended_at: Mapped[float | None]
    outcome: Mapped[str | None] = mapped_column(String(40))


class JobEvent(OfJob, Base):
    """What happened to a job, numbered from 1 without a gap."""

    __tablename__ = "job_events"
    __table_args__ = (
        # The invariant lives in the database: a job ends once.
        Index(
            "uq_job_events_one_end",
            "job_id",
            unique=True,
            sqlite_where=text("ends_job = 1"),
            postgresql_where=text("ends_job = 1"),
        ),
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(String(40))
    attempt: Mapped[int]
    data: Mapped[dict[str, Any]]
    ends_job: Mapped[int] = mapped_column(default=0)
    actor: Mapped[str | None] = mapped_column(String(40))
    """Who asked for it, as `jobs.audit` names them; null: the service itself."""
    at: Mapped[float]


class Outbox(OfJob, Base):
    """A hint to be sent to the broker, written in the transaction that made it due."""

    __tablename__ = "outbox"

    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    send_after: Mapped[float] = mapped_column(index=True)
    created_at: Mapped[float]


class IdempotencyKey(Base):
    """What a creating request was answered with, stored with what it created: a repetition gets the same answer."""

    __tablename__ = "idempotency_keys"

    caller: Mapped[str] = mapped_column(String(80), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    """sha256 of the method, the address and the body."""
    status: Mapped[int]
    headers: Mapped[dict[str, Any]]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[float] = mapped_column(index=True)


class MetricBlock(OfJob, Base):
    """A stretch of one curve: float32 little-endian `values` of the contiguous steps first_step..last_step.

    What they come to stands before them: SQLite would have to read through the values to reach what is behind.
    """

    __tablename__ = "metric_blocks"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    first_step: Mapped[int] = mapped_column(primary_key=True)
    last_step: Mapped[int]
    low: Mapped[float | None]
    """The least of the finite values, `high` the greatest, `last_finite` the last; null where none is finite."""
    high: Mapped[float | None]
    last_finite: Mapped[float | None]
    nonfinite: Mapped[int] = mapped_column(default=0, server_default="0")
    """How many are NaN or infinite."""
    values: Mapped[bytes] = mapped_column(LargeBinary)


class Checkpoint(OfJob, Base):
    """A registered file: `key` holds all that is needed to go on, `weights_key` G alone for inference."""

    __tablename__ = "checkpoints"
    __table_args__ = (
        Index("uq_checkpoints_place", "job_id", "step", "attempt", unique=True),
        # The invariant lives in the database: a job has one best checkpoint.
        Index(
            "uq_checkpoints_one_best",
            "job_id",
            unique=True,
            sqlite_where=text("is_best"),
            postgresql_where=text("is_best"),
        ),
        CheckConstraint("state in ('ready', 'bad', 'pruned')", name="state_known"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    step: Mapped[int]
    metrics: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16), default="ready")
    is_best: Mapped[bool] = mapped_column(default=False)
    key: Mapped[str] = mapped_column(String(300))
    bytes: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    weights_key: Mapped[str] = mapped_column(String(300))
    weights_bytes: Mapped[int]
    weights_sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[float]


class Evaluation(OfJob, Base):
    """How good the images were at a step, and all that the figures rest on."""

    __tablename__ = "evaluations"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    best_so_far: Mapped[bool]
    """Whether none before it was better. The best of a job is the last of these that counts."""
    metrics: Mapped[dict[str, Any]]
    details: Mapped[dict[str, Any]]
    """The rest of the evaluation: shares of the classes, the figures of real images, where the numbers come from."""
    created_at: Mapped[float]


class Preview(OfJob, Base):
    """A drawn grid of the job's fixed latents at a step."""

    __tablename__ = "previews"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(300))
    bytes: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[float]


class Dataset(OfTenant, Base):
    """A registered data set; the images are the worker's business.

    One that somebody brought is `validating` until a relay has had it looked at and unpacked. Each try is an attempt
    with a lease of its own, and a number that its writes carry, as a job's.
    """

    __tablename__ = "datasets"
    __table_args__ = (Index("uq_datasets_name", "tenant", "name", unique=True),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(16))
    num_images: Mapped[int]
    channels: Mapped[int]
    height: Mapped[int]
    width: Mapped[int]
    classes: Mapped[list[Any]]
    sha256: Mapped[str | None] = mapped_column(String(64))
    problems: Mapped[list[Any]]
    """Of one that failed: [{"file", "code", "detail"}]."""
    uploaded: Mapped[bool] = mapped_column(default=False, server_default=false())
    asked_side: Mapped[int | None]
    """Pixels that its images are to be wide and high; null: what fits them."""
    preparation: Mapped[dict[str, Any] | None]
    """{"side", "channels", "words"}: what is done to every image."""
    num_held_out: Mapped[int | None]
    progress: Mapped[dict[str, Any] | None]
    """While validating: {"phase", "done", "total"}."""
    attempt: Mapped[int] = mapped_column(default=0, server_default="0")
    lease_until: Mapped[float | None]
    created_at: Mapped[float]


class Worker(Base):
    """A worker that has said it is there."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(80), primary_key=True)
    host: Mapped[str] = mapped_column(String(200))
    devices: Mapped[list[Any]]
    gpus: Mapped[int]
    """That a job of this worker gets: 0 or 1."""
    draining: Mapped[bool] = mapped_column(default=False)
    current_job_id: Mapped[str | None] = mapped_column(String(40))
    started_at: Mapped[float]
    heartbeat_at: Mapped[float]
