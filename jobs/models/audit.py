"""The audit log: each act of a caller, kept even after its subject is deleted."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from jobs.models.base import Base, OfTenant


class Act(OfTenant, Base):
    """One act that a caller requested, recorded in the transaction that carried it out.

    Migration 0008 adds a trigger that prevents changes and deletions.
    """

    __tablename__ = "acts"
    __table_args__ = (
        Index("ix_acts_subject_seq", "subject", "seq"),
        Index("ix_acts_actor_seq", "actor", "seq"),
        Index("ix_acts_tenant_seq", "tenant", "seq"),
    )

    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    actor: Mapped[str] = mapped_column(String(40))
    """The id of the API key; `local` where the service requires no key."""
    action: Mapped[str] = mapped_column(String(40))
    """The kind of act, such as job.cancel."""
    subject: Mapped[str] = mapped_column(String(80))
    """The id of the object, such as a job or a webhook."""
    detail: Mapped[dict[str, Any] | None]
    request_id: Mapped[str | None] = mapped_column(String(128))
    """The id of the HTTP request, as in the logs."""
    at: Mapped[float]
