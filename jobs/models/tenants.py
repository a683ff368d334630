"""Tenants and their API keys."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ForeignKey,
    String,
)
from sqlalchemy.orm import Mapped, mapped_column

from jobs.models.base import Base


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
