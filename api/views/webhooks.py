"""Webhooks and deliveries, as the schemas show them."""

from __future__ import annotations

import json
from typing import Any, Literal, cast

from api import schemas
from api.schemas import Reason
from api.views.jobs import moment
from jobs.models import Webhook, WebhookDelivery


def webhook(row: Webhook) -> schemas.WebhookView:
    return schemas.WebhookView(**_webhook(row))


def webhook_made(row: Webhook) -> schemas.WebhookMade:
    """With its secret: for whoever has just registered it."""
    return schemas.WebhookMade(**_webhook(row), secret=row.secret)


def _webhook(row: Webhook) -> dict[str, Any]:
    return {
        "id": row.id,
        "url": row.url,
        "events": row.events,
        "enabled": row.enabled,
        "disabled_reason": Reason(**row.disabled_reason) if row.disabled_reason else None,
        "created_at": moment(row.created_at),
    }


def delivery(row: WebhookDelivery) -> schemas.DeliveryView:
    return schemas.DeliveryView(
        id=row.id,
        webhook_id=row.webhook_id,
        type=row.type,
        job_id=row.about,
        state=cast(Literal["pending", "delivered", "failed"], row.state),
        payload=json.loads(row.body),
        tries=[schemas.Try(**{**told, "at": moment(told["at"])}) for told in row.tries],
        next_at=moment(row.next_at),
        created_at=moment(row.created_at),
    )
