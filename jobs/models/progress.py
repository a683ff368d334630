"""The tables that a running job writes: metrics, checkpoints, evaluations, previews."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from jobs.models.base import Base, OfJob


class MetricBlock(OfJob, Base):
    """A block of one curve: little-endian float32 `values` for the contiguous steps first_step..last_step.

    The summary columns stand before the values, because SQLite reads through `values` to reach any column behind it.
    """

    __tablename__ = "metric_blocks"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    first_step: Mapped[int] = mapped_column(primary_key=True)
    last_step: Mapped[int]
    low: Mapped[float | None]
    """The smallest finite value; `high` is the largest and `last_finite` the last one; null where none is finite."""
    high: Mapped[float | None]
    last_finite: Mapped[float | None]
    nonfinite: Mapped[int] = mapped_column(default=0, server_default="0")
    """The number of values that are NaN or infinite."""
    values: Mapped[bytes] = mapped_column(LargeBinary)


class Checkpoint(OfJob, Base):
    """A checkpoint whose files are durable. `key` is the full state for resuming; `weights_key` is G_ema alone."""

    __tablename__ = "checkpoints"
    __table_args__ = (
        Index("uq_checkpoints_place", "job_id", "step", "attempt", unique=True),
        # The database enforces this invariant: a job has at most one best checkpoint.
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
    """The measured quality of the images at one step, and the numbers that it is computed from."""

    __tablename__ = "evaluations"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    best_so_far: Mapped[bool]
    """Whether no earlier evaluation was better. The best of a job is the last such row that is not superseded."""
    metrics: Mapped[dict[str, Any]]
    details: Mapped[dict[str, Any]]
    """The rest of the evaluation: shares of the classes, the scores of real images, the source of the numbers."""
    created_at: Mapped[float]


class Preview(OfJob, Base):
    """A grid of images that was drawn from the job's fixed latents at one step."""

    __tablename__ = "previews"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(300))
    bytes: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[float]
