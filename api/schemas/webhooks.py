"""What is read and answered of webhooks, as OpenAPI documents it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.base import Reason

EventType = Literal["job.status", "checkpoint.created", "evaluation.completed", "health.finding"]


def _without_defaults(schema: dict[str, Any]) -> None:
    """They stand for what was left out, and are never set."""
    for about in schema["properties"].values():
        about.pop("default")


class _WebhookModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WebhookBody(_WebhookModel):
    """The body of POST /v1/webhooks."""

    model_config = ConfigDict(strict=True)

    url: str = Field(min_length=1, max_length=2000, description="https, port 443, public addresses alone.")
    events: list[EventType] = Field(
        ["job.status"], min_length=1, max_length=16, description="The types of events to be told of."
    )


class WebhookChange(_WebhookModel):
    """The body of PATCH /v1/webhooks/{webhook_id}: what is left out stays as it is."""

    model_config = ConfigDict(strict=True, json_schema_extra=_without_defaults)

    enabled: bool = Field(True, description="false: it is told nothing, nor later what happened meanwhile.")
    events: list[EventType] = Field(
        ["job.status"], min_length=1, max_length=16, description="The types of events to be told of from now on."
    )


class WebhookView(_WebhookModel):
    """An address that is told what happens to its tenant's jobs."""

    id: str
    url: str
    events: list[EventType]
    enabled: bool
    disabled_reason: Reason | None = Field(description="Why the service disabled it; null where somebody did.")
    created_at: datetime


class WebhookMade(WebhookView):
    """A webhook, and its secret: shown this once."""

    secret: str = Field(description="whsec_ and base64: what its deliveries are signed with.")


class Try(_WebhookModel):
    """One attempt to deliver."""

    attempt: int
    at: datetime
    status: int | None = Field(description="That was answered; null where nothing was.")
    error: str | None
    milliseconds: int


class DeliveryView(_WebhookModel):
    """One event for one webhook, and what came of it."""

    id: str = Field(description="Sent as webhook-id, the same in every attempt.")
    webhook_id: str
    type: str
    job_id: str | None
    state: Literal["pending", "delivered", "failed"]
    payload: dict[str, Any] = Field(description="What is sent.")
    tries: list[Try] = Field(description="The newest 30, oldest first.")
    next_at: datetime | None = Field(description="Pending: when it is sent next.")
    created_at: datetime
