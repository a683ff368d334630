"""Bodies of requests and responses about webhooks."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.base import Reason

EventType = Literal["job.status", "checkpoint.created", "evaluation.completed", "health.finding"]


class _WebhookModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WebhookBody(_WebhookModel):
    """The body of POST /v1/webhooks."""

    model_config = ConfigDict(strict=True)

    url: str = Field(min_length=1, max_length=2000, description="An https URL with port 443 and public IP addresses.")
    events: list[EventType] = Field(
        ["job.status"], min_length=1, max_length=16, description="The types of events to send."
    )


class WebhookChange(_WebhookModel):
    """The body of PATCH /v1/webhooks/{webhook_id}: omitted fields stay unchanged."""

    model_config = ConfigDict(strict=True)

    enabled: bool = Field(
        True, description="false: the service sends no events, and does not send them later either."
    )
    events: list[EventType] = Field(
        ["job.status"], min_length=1, max_length=16, description="The types of events to send from now on."
    )


class WebhookView(_WebhookModel):
    """A webhook: an address that the service sends the events of its tenant's jobs to."""

    id: str
    url: str
    events: list[EventType]
    enabled: bool
    disabled_reason: Reason | None = Field(description="Why the service has disabled it; null if a request did so.")
    created_at: datetime


class WebhookMade(WebhookView):
    """A new webhook, with its secret. Only this response shows the secret."""

    secret: str = Field(description="The key that signs the deliveries: whsec_ and base64.")


class Try(_WebhookModel):
    """One attempt to deliver an event."""

    attempt: int
    at: datetime
    status: int | None = Field(description="The HTTP status of the response; null if there was none.")
    error: str | None
    milliseconds: int


class DeliveryView(_WebhookModel):
    """The delivery of one event to one webhook."""

    id: str = Field(description="The value of the header webhook-id, the same in every attempt.")
    webhook_id: str
    type: str
    job_id: str | None
    state: Literal["pending", "delivered", "failed"]
    payload: dict[str, Any] = Field(description="The body that is sent.")
    tries: list[Try] = Field(description="The newest 30 attempts, oldest first.")
    next_at: datetime | None = Field(description="The time of the next attempt, while the state is pending.")
    created_at: datetime
