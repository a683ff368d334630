"""Webhooks: registered, listed, changed, and disabled when the receiver fails for days."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import delete as sql_delete
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from jobs import clock, tenancy
from jobs.errors import TooManyWebhooksError, WebhookDisabledError, WebhookNotFoundError
from jobs.ids import looks_like, new_id
from jobs.models import Job, Webhook, WebhookDelivery
from jobs.store.callers import acts, tenants
from jobs.store.pages import Page, cut, decode

MAX_WEBHOOKS: Final = 20
"""The maximum number of webhooks of one tenant."""

_SECRET_BYTES: Final = 32
# Both limits must be reached, so that a receiver that is away for a weekend, or that sometimes answers, loses
# nothing.
_DISABLED_AFTER_FAILURES: Final = 20
_DISABLED_AFTER_SECONDS: Final = 3 * 86_400


def create(s: Session, url: str, events: Sequence[str]) -> Webhook:
    """Register a URL, with a secret of its own. Raises `TooManyWebhooksError`."""
    tenant = tenancy.tenant_of(s)
    # The lock makes two concurrent requests follow each other: the second one counts the first.
    tenants.lock(s, tenant)
    if (s.scalar(select(func.count()).where(Webhook.tenant == tenant)) or 0) >= MAX_WEBHOOKS:
        raise TooManyWebhooksError(MAX_WEBHOOKS)
    row = Webhook(
        id=new_id("hook"),
        tenant=tenant,
        url=url,
        secret="whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode(),
        events=list(events),
        enabled=True,
        created_at=clock.read(s),
    )
    s.add(row)
    s.flush()
    acts.record(s, "webhook.add", row.id)
    return row


def get(s: Session, webhook_id: str) -> Webhook:
    """Return a webhook. Raises `WebhookNotFoundError`."""
    row = s.get(Webhook, webhook_id) if looks_like("hook", webhook_id) else None
    if row is None:
        raise WebhookNotFoundError(webhook_id)
    return row


def require_enabled(s: Session, webhook_id: str) -> Webhook:
    """Return an enabled webhook. Raises `WebhookNotFoundError`, `WebhookDisabledError`."""
    row = get(s, webhook_id)
    if not row.enabled:
        raise WebhookDisabledError(webhook_id)
    return row


def page(s: Session, *, limit: int, cursor: str | None = None) -> Page[Webhook]:
    """Return a page of webhooks in order of registration."""
    query = select(Webhook).order_by(Webhook.id).limit(limit + 1)
    if cursor is not None:
        query = query.where(Webhook.id > decode(cursor, "webhooks"))
    return cut(list(s.scalars(query)), limit, "webhooks", lambda row: row.id)


def change(
    s: Session, webhook_id: str, *, events: Sequence[str] | None = None, enabled: bool | None = None
) -> Webhook:
    """Set the given fields. Events that happen while the webhook is disabled are never delivered to it.

    Raises `WebhookNotFoundError`.
    """
    row = get(s, webhook_id)
    if events is not None:
        row.events = list(events)
    if enabled is True and not row.enabled:
        row.enabled, row.disabled_reason, row.failures, row.failing_since = True, None, 0, None
    s.flush()
    changes: dict[str, Any] = {"events": events, "enabled": enabled}
    acts.record(s, "webhook.change", webhook_id, **{k: v for k, v in changes.items() if v is not None})
    if enabled is False and row.enabled:
        _disable(s, webhook_id, None)
    s.refresh(row)
    return row


def delete(s: Session, webhook_id: str) -> None:
    """Delete the webhook and its deliveries, also those that are still due. Raises `WebhookNotFoundError`."""
    row = get(s, webhook_id)
    s.execute(sql_delete(Webhook).where(Webhook.id == webhook_id))
    acts.record(s, "webhook.delete", webhook_id)
    s.expunge(row)


def lock(s: Session, webhook_id: str) -> bool:
    """Lock the webhook until this transaction ends, and return whether it exists.

    A transaction takes this lock before that of any delivery of the webhook.
    """
    query = select(Webhook.id).where(Webhook.id == webhook_id).with_for_update(key_share=True)
    return s.scalar(query) is not None


def lock_subscribed(s: Session, job_id: str, type: str) -> list[Webhook]:
    """Lock and return the enabled webhooks of the job's tenant that subscribe to events of `type`."""
    enabled = select(Webhook).join(Job, Job.tenant == Webhook.tenant).where(Job.id == job_id, Webhook.enabled)
    query = enabled.with_for_update(read=True, key_share=True, of=Webhook)
    return [row for row in s.scalars(query) if type in row.events]


def record_success(s: Session, webhook_id: str) -> None:
    """Record that the receiver accepted a delivery."""
    failing = (Webhook.id == webhook_id, Webhook.failing_since.is_not(None))
    s.execute(update(Webhook).where(*failing).values(failures=0, failing_since=None))


def record_failure(s: Session, webhook_id: str, *, gone: bool) -> None:
    """Record that an attempt failed, and disable a webhook that has failed for too long.

    `gone`: the receiver answered 410, and the webhook is disabled at once.
    """
    since = func.coalesce(Webhook.failing_since, clock.now())
    row = s.execute(
        update(Webhook)
        .where(Webhook.id == webhook_id)
        .values(failures=Webhook.failures + 1, failing_since=since)
        .returning(Webhook.failures, clock.now() - Webhook.failing_since)
    ).one_or_none()
    if row is None:
        return
    failures, seconds = row
    if gone:
        message = "The receiver answered 410 Gone, which means that it wants no more deliveries."
        _disable(s, webhook_id, {"code": "gone", "message": message})
    elif failures >= _DISABLED_AFTER_FAILURES and seconds >= _DISABLED_AFTER_SECONDS:
        message = f"The last {failures} attempts failed, over {seconds / 86_400:.0f} days."
        _disable(s, webhook_id, {"code": "failing", "message": message})


def _disable(s: Session, webhook_id: str, reason: dict[str, Any] | None) -> None:
    enabled = (Webhook.id == webhook_id, Webhook.enabled)
    s.execute(update(Webhook).where(*enabled).values(enabled=False, disabled_reason=reason))
    pending = (WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.state == "pending")
    s.execute(update(WebhookDelivery).where(*pending).values(state="failed", next_at=None))
