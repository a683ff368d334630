"""The tables of webhooks: registered URLs, and their deliveries."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from jobs.models.base import Base, OfTenant


class Webhook(OfTenant, Base):
    """A URL that gets the events of its tenant's jobs."""

    __tablename__ = "webhooks"
    __table_args__ = (Index("ix_webhooks_tenant", "tenant"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    url: Mapped[str] = mapped_column(String(2000))
    secret: Mapped[str] = mapped_column(String(100))
    """The key that signs its deliveries. It is stored in plain text, because signing needs it."""
    events: Mapped[list[Any]]
    """The types of events that are delivered."""
    enabled: Mapped[bool] = mapped_column(default=True)
    disabled_reason: Mapped[dict[str, Any] | None]
    """{"code", "message"}: why the service disabled it; null if it is enabled or a caller disabled it."""
    failures: Mapped[int] = mapped_column(default=0)
    """The number of failed attempts since the last successful one."""
    failing_since: Mapped[float | None]
    created_at: Mapped[float]


class WebhookDelivery(OfTenant, Base):
    """One event for one webhook, written in the event's transaction and kept for a while as a log.

    Each try is an attempt with a number that its writes carry, as for a job. There is no foreign key to the job,
    because a delivery outlives it.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        CheckConstraint("state in ('pending', 'delivered', 'failed')", name="state_known"),
        Index("ix_webhook_deliveries_due", "state", "next_at"),
        Index("ix_webhook_deliveries_webhook_id_id", "webhook_id", "id"),
        Index("ix_webhook_deliveries_created_at", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    """Sent as the header webhook-id, the same in every attempt."""
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    type: Mapped[str] = mapped_column(String(40))
    about: Mapped[str | None] = mapped_column(String(40))
    """The id of the job, if the event is about one."""
    body: Mapped[str] = mapped_column(Text)
    """The exact body that is sent. It is signed, and the same in every attempt."""
    state: Mapped[str] = mapped_column(String(16), default="pending")
    attempt: Mapped[int] = mapped_column(default=0)
    attempts_before: Mapped[int] = mapped_column(default=0)
    """The attempts before the last request to redeliver. They do not count toward the maximum."""
    next_at: Mapped[float | None]
    """While pending: the time of the next attempt; during an attempt: when its relay is presumed lost."""
    tries: Mapped[list[Any]]
    """The outcomes of the newest attempts: [{"attempt", "at", "status", "error", "milliseconds"}]."""
    created_at: Mapped[float]
