"""Deliveries to webhooks: written with the event, sent by a relay, retried for a day, kept for a month.

They form an outbox. A delivery is written in the transaction of its event, so neither exists without the other. It is
marked as delivered only after it was sent, so it may be sent twice, under one id, but it is never lost.
"""

from __future__ import annotations

import json
import random
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from jobs import clock
from jobs.errors import DeliveryNotFoundError
from jobs.ids import looks_like, new_id
from jobs.models import JobEvent, Webhook, WebhookDelivery
from jobs.store.callers import acts, webhooks
from jobs.store.pages import Page, cut, decode

PENDING: Final = "pending"
DELIVERED: Final = "delivered"
FAILED: Final = "failed"
TEST: Final = "webhook.test"

FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "job.status": ("status",),
    "checkpoint.created": ("checkpoint_id", "step", "is_best"),
    "evaluation.completed": ("step", "is_best"),
    "health.finding": ("code", "severity", "verdict"),
}
"""The event types that a webhook may receive, and which of their data: only ids and codes."""
RETRY_DELAYS: Final = (5, 30, 120, 300, 900, 1800, 3600, 7200, 14_400, 21_600, 36_000)
"""Delays before the second, third, ... attempt, s; together about a day. No attempt follows the last one."""

_HTTP_GONE: Final = 410
_KEPT_SECONDS: Final = 30 * 86_400
_KEPT_TRIES: Final = 30
_LONGEST_DELAY: Final = 1.1 * max(RETRY_DELAYS)


@dataclass(frozen=True)
class PendingDelivery:
    """A delivery that one relay has claimed and sends."""

    id: str
    tenant: str
    webhook_id: str
    attempt: int
    url: str
    secret: str
    body: str


@dataclass(frozen=True)
class DeliveryOutcome:
    """The outcome of an attempt: the HTTP status of the response, or why there was none."""

    status: int | None
    error: str | None
    milliseconds: int

    @property
    def delivered(self) -> bool:
        """Whether the receiver accepted the delivery."""
        return self.status is not None and 200 <= self.status < 300


def enqueue(s: Session, event: JobEvent) -> None:
    """Write a delivery of this event for each webhook that subscribes to it, in the event's transaction."""
    if event.type not in FIELDS:
        return
    position = {"job_id": event.job_id, "seq": event.seq, "attempt": event.attempt}
    data = {name: event.data.get(name) for name in FIELDS[event.type]}
    for hook in webhooks.lock_subscribed(s, event.job_id, event.type):
        _write(s, hook, event.type, event.at, {**position, **data}, event.job_id)
    s.flush()


def enqueue_test(s: Session, webhook_id: str) -> WebhookDelivery:
    """Write a test delivery. Raises `WebhookNotFoundError`, `WebhookDisabledError`."""
    hook = webhooks.require_enabled(s, webhook_id)
    row = _write(s, hook, TEST, clock.read(s), {"webhook_id": webhook_id}, None)
    acts.record(s, "webhook.test", webhook_id)
    s.flush()
    return row


def has_due(s: Session, busy: Collection[str] = (), full: Collection[str] = ()) -> bool:
    """Return whether `claim` would find a delivery."""
    return s.scalar(_due(busy, full).limit(1)) is not None


def claim(
    s: Session, lease_seconds: float, busy: Collection[str] = (), full: Collection[str] = ()
) -> PendingDelivery | None:
    """Claim the delivery that has been due for longest; None: there is none.

    After `lease_seconds` without an outcome another relay may claim it. No delivery of the webhooks `busy` or of the
    tenants `full` is claimed.
    """
    best = _due(busy, full).order_by(WebhookDelivery.next_at).limit(1)
    best = best.with_for_update(skip_locked=True, of=WebhookDelivery)
    row = s.scalars(
        update(WebhookDelivery)
        .where(WebhookDelivery.id == best.scalar_subquery(), WebhookDelivery.state == PENDING)
        .values(attempt=WebhookDelivery.attempt + 1, next_at=clock.now() + lease_seconds)
        .returning(WebhookDelivery)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if row is None:
        return None
    hook = s.get_one(Webhook, row.webhook_id)
    return PendingDelivery(row.id, row.tenant, hook.id, row.attempt, hook.url, hook.secret, row.body)


def record_outcome(s: Session, delivery: PendingDelivery, outcome: DeliveryOutcome) -> str | None:
    """Record the outcome of an attempt and schedule the next one if needed; return the state of the delivery.

    None: another relay has claimed it since, or it was deleted. Then nothing is written.
    """
    row = _lock(s, delivery) if webhooks.lock(s, delivery.webhook_id) else None
    if row is None:
        return None
    entry = {"attempt": delivery.attempt, "at": clock.read(s), **asdict(outcome)}
    row.tries = [*row.tries, entry][-_KEPT_TRIES:]
    if outcome.delivered:
        row.state, row.next_at = DELIVERED, None
        webhooks.record_success(s, delivery.webhook_id)
    else:
        _schedule_retry(s, row)
        s.flush()
        webhooks.record_failure(s, delivery.webhook_id, gone=outcome.status == _HTTP_GONE)
    s.flush()
    s.refresh(row)
    return row.state


def redeliver(s: Session, webhook_id: str, delivery_id: str) -> WebhookDelivery:
    """Send the delivery again now, under its old id and with as many attempts as a new one.

    Raises `WebhookNotFoundError`, `DeliveryNotFoundError`, `WebhookDisabledError`.
    """
    webhooks.require_enabled(s, webhook_id)
    row = get(s, webhook_id, delivery_id)
    row.state, row.next_at, row.attempts_before = PENDING, clock.read(s), row.attempt
    acts.record(s, "webhook.redeliver", webhook_id, delivery_id=delivery_id)
    s.flush()
    return row


def get(s: Session, webhook_id: str, delivery_id: str) -> WebhookDelivery:
    """Return a delivery. Raises `WebhookNotFoundError`, `DeliveryNotFoundError`."""
    webhooks.get(s, webhook_id)
    row = s.get(WebhookDelivery, delivery_id) if looks_like("msg", delivery_id) else None
    if row is None or row.webhook_id != webhook_id:
        raise DeliveryNotFoundError(delivery_id)
    return row


def page(s: Session, webhook_id: str, *, limit: int, cursor: str | None = None) -> Page[WebhookDelivery]:
    """Return a page of a webhook's deliveries, newest first. Raises `WebhookNotFoundError`."""
    webhooks.get(s, webhook_id)
    query = select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id)
    if cursor is not None:
        query = query.where(WebhookDelivery.id < decode(cursor, webhook_id))
    rows = s.scalars(query.order_by(WebhookDelivery.id.desc()).limit(limit + 1))
    return cut(list(rows), limit, webhook_id, lambda row: row.id)


def delete_old(s: Session) -> None:
    """Delete the deliveries that are older than a month."""
    # Read the clock once per statement: see `_too_old` in idempotency.py.
    old = WebhookDelivery.created_at < select(clock.now()).scalar_subquery() - _KEPT_SECONDS
    s.execute(delete(WebhookDelivery).where(old))


def _write(
    s: Session, hook: Webhook, type: str, at: float, data: dict[str, Any], about: str | None
) -> WebhookDelivery:
    moment = datetime.fromtimestamp(round(at, 3), UTC).isoformat(timespec="milliseconds")
    payload = {"type": type, "timestamp": moment.replace("+00:00", "Z"), "data": data}
    row = WebhookDelivery(
        id=new_id("msg"),
        tenant=hook.tenant,
        webhook_id=hook.id,
        type=type,
        about=about,
        body=json.dumps(payload, separators=(",", ":")),
        state=PENDING,
        next_at=at,
        tries=[],
        created_at=at,
    )
    s.add(row)
    return row


def _due(busy: Collection[str], full: Collection[str]) -> Any:
    # A delivery that would wait for longer than the longest delay was written before a clock was set back.
    misdated = WebhookDelivery.next_at > clock.now() + _LONGEST_DELAY
    return (
        select(WebhookDelivery.id)
        .join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
        .where(
            WebhookDelivery.state == PENDING,
            or_(WebhookDelivery.next_at <= clock.now(), misdated),
            Webhook.enabled,
            WebhookDelivery.webhook_id.not_in(list(busy)),
            WebhookDelivery.tenant.not_in(list(full)),
        )
    )


def _lock(s: Session, delivery: PendingDelivery) -> WebhookDelivery | None:
    mine: tuple[ColumnElement[bool], ...] = (
        WebhookDelivery.id == delivery.id,
        WebhookDelivery.attempt == delivery.attempt,
    )
    return s.scalars(
        update(WebhookDelivery)
        .where(*mine)
        .values(attempt=WebhookDelivery.attempt)
        .returning(WebhookDelivery)
        .execution_options(populate_existing=True)
    ).one_or_none()


def _schedule_retry(s: Session, row: WebhookDelivery) -> None:
    """Set the time of the next attempt, or mark the delivery as failed after the last one."""
    made = row.attempt - row.attempts_before
    if row.state != PENDING:  # the webhook was disabled in the meantime
        return
    if made > len(RETRY_DELAYS):
        row.state, row.next_at = FAILED, None
    else:
        # Add jitter, so that deliveries that failed together are not all retried at once.
        row.next_at = clock.read(s) + RETRY_DELAYS[made - 1] * random.uniform(1, 1.1)  # noqa: S311 - not a secret
