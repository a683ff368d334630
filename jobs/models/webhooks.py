"""The tables of webhooks: addresses that callers register, and what each is to be told."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from jobs.models.base import Base, OfTenant


class Webhook(OfTenant, Base):
    """An address that is told what happens to its tenant's jobs."""

    __tablename__ = "webhooks"
    __table_args__ = (Index("ix_webhooks_tenant", "tenant"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    url: Mapped[str] = mapped_column(String(2000))
    secret: Mapped[str] = mapped_column(String(100))
    """What its deliveries are signed with; kept as it is, as signing needs it."""
    events: Mapped[list[Any]]
    """The types of events that it is told of."""
    enabled: Mapped[bool] = mapped_column(default=True)
    disabled_reason: Mapped[dict[str, Any] | None]
    """{"code", "message"}: why the service has disabled it; null where somebody has, or where it is enabled."""
    failures: Mapped[int] = mapped_column(default=0)
    """Attempts that failed since the last that did not."""
    failing_since: Mapped[float | None]
    created_at: Mapped[float]


class WebhookDelivery(OfTenant, Base):
    """One event for one webhook, written in the event's transaction; kept a while as a log of what came of it.

    Each try is an attempt, whose number its writes carry, as a job's. No foreign key to the job: what is to be told
    outlives it.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        CheckConstraint("state in ('pending', 'delivered', 'failed')", name="state_known"),
        Index("ix_webhook_deliveries_due", "state", "next_at"),
        Index("ix_webhook_deliveries_webhook_id_id", "webhook_id", "id"),
        Index("ix_webhook_deliveries_created_at", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    """Sent as webhook-id: the same in every attempt."""
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    type: Mapped[str] = mapped_column(String(40))
    about: Mapped[str | None] = mapped_column(String(40))
    """The id of the job that it is of, if it is of one."""
    body: Mapped[str] = mapped_column(Text)
    """What is sent, to the byte: it is signed, and the same in every attempt."""
    state: Mapped[str] = mapped_column(String(16), default="pending")
    attempt: Mapped[int] = mapped_column(default=0)
    attempts_before: Mapped[int] = mapped_column(default=0)
    """Those that were made before it was last asked to be delivered again: they do not count for when to give up."""
    next_at: Mapped[float | None]
    """Pending: when it is sent next; while it is being sent, when whoever does that is taken for lost."""
    tries: Mapped[list[Any]]
    """What came of the newest attempts: [{"attempt", "at", "status", "error", "milliseconds"}]."""
    created_at: Mapped[float]
