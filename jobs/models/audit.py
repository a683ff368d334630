"""The table of who did what: each act of a caller's, kept beyond what it was done to."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from jobs.models.base import Base, OfTenant


class Act(OfTenant, Base):
    """Somebody asked for something, and it was done: noted in the transaction that did it.

    Migration 0008 adds a trigger: what is noted is never changed or removed.
    """

    __tablename__ = "acts"
    __table_args__ = (
        Index("ix_acts_subject_seq", "subject", "seq"),
        Index("ix_acts_actor_seq", "actor", "seq"),
        Index("ix_acts_tenant_seq", "tenant", "seq"),
    )

    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    actor: Mapped[str] = mapped_column(String(40))
    """The id of the key that it was asked with; `local`: nobody was asked for one."""
    action: Mapped[str] = mapped_column(String(40))
    """What it was, such as job.cancel."""
    subject: Mapped[str] = mapped_column(String(80))
    """The id of what it was done to."""
    detail: Mapped[dict[str, Any] | None]
    request_id: Mapped[str | None] = mapped_column(String(128))
    """Of the request that asked for it, as it stands in the log."""
    at: Mapped[float]
