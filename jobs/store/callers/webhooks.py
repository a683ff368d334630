"""Webhooks: registered, listed, changed, disabled when nobody answers for days."""

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
"""That a tenant may have."""

_SECRET_BYTES: Final = 32
# Both must hold: a host that is away for a weekend loses nothing, nor one that answers now and then.
_DISABLED_AFTER_FAILURES: Final = 20
_DISABLED_AFTER_SECONDS: Final = 3 * 86_400


def create(s: Session, url: str, events: Sequence[str]) -> Webhook:
    """Register an address, with a secret of its own. Raises `TooManyWebhooksError`."""
    tenant = tenancy.tenant_of(s)
    # Of two that come at the same time, the second counts the first.
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
    """Raises `WebhookNotFoundError`."""
    row = s.get(Webhook, webhook_id) if looks_like("hook", webhook_id) else None
    if row is None:
        raise WebhookNotFoundError(webhook_id)
    return row


def require_enabled(s: Session, webhook_id: str) -> Webhook:
    """Raises `WebhookNotFoundError`, `WebhookDisabledError`."""
    row = get(s, webhook_id)
    if not row.enabled:
        raise WebhookDisabledError(webhook_id)
    return row


def page(s: Session, *, limit: int, cursor: str | None = None) -> Page[Webhook]:
    """In order of registration."""
    query = select(Webhook).order_by(Webhook.id).limit(limit + 1)
    if cursor is not None:
        query = query.where(Webhook.id > decode(cursor, "webhooks"))
    return cut(list(s.scalars(query)), limit, "webhooks", lambda row: row.id)


def change(
    s: Session, webhook_id: str, *, events: Sequence[str] | None = None, enabled: bool | None = None
) -> Webhook:
    """Set what is given. What happens while it is disabled it is never told. Raises `WebhookNotFoundError`."""
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
    """Forget it, and what it was yet to be told. Raises `WebhookNotFoundError`."""
    row = get(s, webhook_id)
    s.execute(sql_delete(Webhook).where(Webhook.id == webhook_id))
    acts.record(s, "webhook.delete", webhook_id)
    s.expunge(row)


def lock(s: Session, webhook_id: str) -> bool:
    """Whether it is there; nobody else changes it until this transaction ends. Taken before any of its deliveries."""
    held = select(Webhook.id).where(Webhook.id == webhook_id).with_for_update(key_share=True)
    return s.scalar(held) is not None


def lock_subscribed(s: Session, job_id: str, type: str) -> list[Webhook]:
    """Those of the job's own tenant that are told of such events; they stay until this transaction ends."""
    mine = select(Webhook).join(Job, Job.tenant == Webhook.tenant).where(Job.id == job_id, Webhook.enabled)
    held = mine.with_for_update(read=True, key_share=True, of=Webhook)
    return [row for row in s.scalars(held) if type in row.events]


def record_success(s: Session, webhook_id: str) -> None:
    """It has taken what it was told."""
    failing = (Webhook.id == webhook_id, Webhook.failing_since.is_not(None))
    s.execute(update(Webhook).where(*failing).values(failures=0, failing_since=None))


def record_failure(s: Session, webhook_id: str, *, gone: bool) -> None:
    """It has not; `gone`: and says that it never will. One that fails for long is disabled."""
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
        message = "It answered 410 Gone, which says that it wants to be told nothing more."
        _disable(s, webhook_id, {"code": "gone", "message": message})
    elif failures >= _DISABLED_AFTER_FAILURES and seconds >= _DISABLED_AFTER_SECONDS:
        message = f"The last {failures} attempts failed, over {seconds / 86_400:.0f} days."
        _disable(s, webhook_id, {"code": "failing", "message": message})


def _disable(s: Session, webhook_id: str, reason: dict[str, Any] | None) -> None:
    on = (Webhook.id == webhook_id, Webhook.enabled)
    s.execute(update(Webhook).where(*on).values(enabled=False, disabled_reason=reason))
    pending = (WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.state == "pending")
    s.execute(update(WebhookDelivery).where(*pending).values(state="failed", next_at=None))
