"""Webhooks and their deliveries as response bodies."""

from __future__ import annotations

import json
from typing import Any, Literal, cast

from api.schemas.base import Reason
from api.schemas.webhooks import DeliveryView, Try, WebhookMade, WebhookView
from api.views.base import moment
from jobs.models import Webhook, WebhookDelivery


def webhook_view(row: Webhook) -> WebhookView:
    """Return a webhook, without its secret."""
    return WebhookView(**_fields(row))


def new_webhook_view(row: Webhook) -> WebhookMade:
    """Return a new webhook, with its secret."""
    return WebhookMade(**_fields(row), secret=row.secret)


def delivery_view(row: WebhookDelivery) -> DeliveryView:
    """Return a delivery, with all its tries."""
    return DeliveryView(
        id=row.id,
        webhook_id=row.webhook_id,
        type=row.type,
        job_id=row.about,
        state=cast(Literal["pending", "delivered", "failed"], row.state),
        payload=json.loads(row.body),
        tries=[Try(**{**attempt, "at": moment(attempt["at"])}) for attempt in row.tries],
        next_at=moment(row.next_at),
        created_at=moment(row.created_at),
    )


def _fields(row: Webhook) -> dict[str, Any]:
    return {
        "id": row.id,
        "url": row.url,
        "events": row.events,
        "enabled": row.enabled,
        "disabled_reason": Reason(**row.disabled_reason) if row.disabled_reason else None,
        "created_at": moment(row.created_at),
    }
