"""The table of workers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    String,
)
from sqlalchemy.orm import Mapped, mapped_column

from jobs.models.base import Base


class Worker(Base):
    """A worker that has registered."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(80), primary_key=True)
    host: Mapped[str] = mapped_column(String(200))
    devices: Mapped[list[Any]]
    gpus: Mapped[int]
    """The number of GPUs that a job of this worker gets, 0 or 1."""
    draining: Mapped[bool] = mapped_column(default=False)
    current_job_id: Mapped[str | None] = mapped_column(String(40))
    started_at: Mapped[float]
    heartbeat_at: Mapped[float]
