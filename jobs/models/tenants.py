"""The tables of tenants and their API keys."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ForeignKey,
    String,
)
from sqlalchemy.orm import Mapped, mapped_column

from jobs.models.base import Base


class Tenant(Base):
    """An owner of jobs that no other tenant sees, with its quotas; a null quota is no limit."""

    __tablename__ = "tenants"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    max_queued: Mapped[int | None]
    """The maximum number of queued and paused jobs."""
    max_running: Mapped[int | None]
    device_hours: Mapped[float | None]
    """The device hours that all its jobs together may use. One hour of a job with two GPUs counts as two."""
    storage_mb: Mapped[int | None]
    """The maximum size of its checkpoints, previews and data sets, MB."""
    device_seconds: Mapped[float] = mapped_column(default=0.0, server_default="0")
    """The device time of its ended attempts, s."""
    created_at: Mapped[float]


class TenantTurn(Base):
    """When a job of the tenant was last claimed. The tenant served longest ago goes first.

    Claims lock this row and pass over locked ones. It is not part of `Tenant`, whose device time every ended attempt
    has to add up: under many claims, an attempt would wait for that record without end.
    """

    __tablename__ = "tenant_turns"

    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True)
    served_at: Mapped[float] = mapped_column(default=0.0, server_default="0")


class ApiKey(Base):
    """An API key. Of the key itself only the handle (its first eight characters) and its sha256 are stored."""

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
