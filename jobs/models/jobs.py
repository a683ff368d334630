"""The tables of jobs: jobs, their attempts and events, the outbox, and idempotency keys."""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    literal,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.elements import ColumnElement

from jobs.models.base import Base, OfJob, OfTenant
from jobs.status import TERMINAL, Status

_STATUSES = ", ".join(f"'{s.value}'" for s in Status)
_ENDED = ", ".join(f"'{s.value}'" for s in sorted(TERMINAL))

NO_VERDICT: Final[dict[str, Any]] = {
    "verdict": "unknown",
    "reason": "not_checked",
    "message": "No check has run yet.",
    "missing": [],
    "findings": [],
}
"""The health of a job before its first check. Earlier versions stored "verdict" and "findings" alone."""


def _only(status: str) -> dict[str, Any]:
    """Return the options of an index that holds the jobs of one status only, so that the others cost it nothing."""
    return {"sqlite_where": text(f"status = '{status}'"), "postgresql_where": text(f"status = '{status}'")}


class Job(OfTenant, Base):
    """One durable request to train. `attempt` is the fencing token: each claim raises it, and nothing lowers it.

    Migration 0003 adds a trigger: a job that has ended does not change any more, and `attempt` never falls.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(f"status in ({_STATUSES})", name="status_known"),
        CheckConstraint("(status = 'running') = (lease_until is not null)", name="lease_while_running"),
        CheckConstraint(f"(status in ({_ENDED})) = (finished_at is not null)", name="finished_when_terminal"),
        # In the order of a claim, with every column that a position in the queue depends on. So a claim reads the
        # first entry of a tenant, and a position counts entries. `gpus` stands before the order: a worker without a
        # GPU need not read past jobs that it cannot run.
        Index("ix_jobs_queued", "tenant", "gpus", text("priority DESC"), "created_at", "id", **_only("queued")),
        Index("ix_jobs_published", text("(coalesce(published_at, created_at))"), **_only("queued")),
        # Not of `lease_until`: each heartbeat would then write to every index of the table.
        Index("ix_jobs_running", "tenant", "lease_owner", **_only("running")),
        Index("ix_jobs_finished_at", "finished_at"),
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
    """How long the ended attempts have run, s, by the database's clock."""
    claimed_at: Mapped[float | None]
    """When the running attempt was claimed."""
    not_before: Mapped[float] = mapped_column(default=0.0)
    published_at: Mapped[float | None]

    step: Mapped[int] = mapped_column(default=0)
    total_steps: Mapped[int]
    images_seen: Mapped[int] = mapped_column(default=0)
    images_per_second: Mapped[float | None]
    progress_at: Mapped[float | None]
    latest_metrics: Mapped[dict[str, Any]] = mapped_column(default=dict)
    health: Mapped[dict[str, Any]] = mapped_column(
        default=lambda: dict(NO_VERDICT), server_default=json.dumps({"verdict": "unknown", "findings": []})
    )
    """What the trainer's last health check said, with the keys of `NO_VERDICT`."""
    event_seq: Mapped[int] = mapped_column(default=0)

    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]


def has_status(status: Status, row: type[Job] = Job) -> ColumnElement[bool]:
    """Return the condition that a job has this status.

    The status is a constant in the statement and no parameter: otherwise no index of one status would be used.
    """
    return row.status == literal(status.value, literal_execute=True)


class Attempt(OfJob, Base):
    """One execution of a job. Its writes past its successor's `resumed_from_step` are superseded."""

    __tablename__ = "attempts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    worker_id: Mapped[str] = mapped_column(String(80))
    device: Mapped[str] = mapped_column(String(200))
    resumed_from_step: Mapped[int | None]
    """Step of the checkpoint that it resumed from, 0 from scratch; null until the trainer has reported it."""
    started_at: Mapped[float]
    ended_at: Mapped[float | None]
    outcome: Mapped[str | None] = mapped_column(String(40))


class JobEvent(OfJob, Base):
    """One event of a job, numbered from 1 without a gap."""

    __tablename__ = "job_events"
    __table_args__ = (
        # The database enforces this invariant: a job ends once.
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
    """The caller who requested it, as in `Act.actor`; null: the service itself."""
    at: Mapped[float]


class Outbox(OfJob, Base):
    """A hint that has to be sent to the broker, written in the transaction that made it due."""

    __tablename__ = "outbox"

    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    send_after: Mapped[float] = mapped_column(index=True)
    created_at: Mapped[float]


class IdempotencyKey(Base):
    """The response to a creating request, stored with what it created. A repeated request gets the same response."""

    __tablename__ = "idempotency_keys"

    caller: Mapped[str] = mapped_column(String(80), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    """The sha256 of the method, the URL and the body, in hex."""
    status: Mapped[int]
    headers: Mapped[dict[str, Any]]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[float] = mapped_column(index=True)
