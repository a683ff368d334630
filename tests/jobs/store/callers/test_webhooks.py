"""Tests of webhooks and deliveries in the database: enqueued with the event, claimed once, retried for a day."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select, update

from jobs import clock, leases
from jobs.db import Database, Session
from jobs.errors import DeliveryNotFoundError, TooManyWebhooksError, WebhookDisabledError, WebhookNotFoundError
from jobs.models import DEFAULT_TENANT, Webhook, WebhookDelivery
from jobs.runtime.settings import Settings
from jobs.store import events, health, jobs
from jobs.store.callers import deliveries, tenants, webhooks
from jobs.store.callers.deliveries import DeliveryOutcome, PendingDelivery
from tests.jobs.helpers import submit

ACCEPTED = DeliveryOutcome(204, None, 12)
FAILED = DeliveryOutcome(503, "The receiver failed.", 12)
GONE = DeliveryOutcome(410, "The receiver refused the delivery.", 12)


def register(db: Database, *types: str) -> str:
    """Register a webhook for events of these types; return its id."""
    with db.write() as s:
        return webhooks.create(s, "https://hooks.example/gantry", types or ["job.status"]).id


def deliveries_of(db: Database, webhook_id: str) -> list[WebhookDelivery]:
    """Return all deliveries of the webhook, oldest first."""
    with db.read() as s:
        return deliveries.page(s, webhook_id, limit=200).data[::-1]


def claim(db: Database, lease: float = 60) -> PendingDelivery:
    """Claim the delivery that has been due for longest."""
    with db.write() as s:
        delivery = deliveries.claim(s, lease)
    assert delivery is not None
    return delivery


def record(db: Database, delivery: PendingDelivery, outcome: DeliveryOutcome) -> str | None:
    with db.write() as s:
        return deliveries.record_outcome(s, delivery, outcome)


def make_due(db: Database) -> None:
    """Make every pending delivery due now."""
    with db.write() as s:
        s.execute(update(WebhookDelivery).where(WebhookDelivery.state == "pending").values(next_at=clock.now() - 1))


def webhook_of(db: Database, webhook_id: str) -> Webhook:
    with db.read() as s:
        return webhooks.get(s, webhook_id)


def test_a_delivery_is_written_in_the_transaction_of_its_event(db: Database) -> None:
    hook = register(db)
    job = submit(db)
    (first,) = deliveries_of(db, hook)
    body = json.loads(first.body)
    assert (first.type, first.about, first.state, first.tries) == ("job.status", job.id, "pending", [])
    assert body["type"] == "job.status" and body["timestamp"].endswith("Z")
    assert body["data"] == {"job_id": job.id, "seq": 1, "attempt": 0, "status": "queued"}
    with pytest.raises(RuntimeError), db.write() as s:
        jobs.request_cancel(s, job.id)
        raise RuntimeError
    assert len(deliveries_of(db, hook)) == 1
    with db.read() as s:
        assert len(events.page(s, job.id, 0, 10)) == 1


def test_every_status_change_is_enqueued_in_order(db: Database) -> None:
    hook = register(db)
    job = submit(db)
    with db.write() as s:
        leases.claim(s, "w", "cpu", 0, 60)
        jobs.request_cancel(s, job.id)
        leases.release(s, job.id, 1, crash=False, reason={"code": "stopped", "message": "As asked."})
    statuses = [json.loads(row.body)["data"]["status"] for row in deliveries_of(db, hook)]
    assert statuses == ["queued", "running", "cancelled"]


def test_a_webhook_gets_only_its_types_and_no_free_text(db: Database) -> None:
    loud, quiet = register(db, "job.status", "health.finding"), register(db, "health.finding")
    job = submit(db, name="a secret project")
    finding: dict[str, Any] = {"code": "mode_collapse", "severity": "critical", "message": "All images are alike."}
    with db.write() as s:
        leases.claim(s, "w", "cpu", 0, 60)
        health.record(s, job.id, 1, 50, "failing", [finding], raised=[finding])
    assert [row.type for row in deliveries_of(db, loud)] == ["job.status", "job.status", "health.finding"]
    (only,) = deliveries_of(db, quiet)
    data = json.loads(only.body)["data"]
    assert (data["code"], data["severity"], data["verdict"]) == ("mode_collapse", "critical", "failing")
    assert not any("alike" in row.body or "secret project" in row.body for row in deliveries_of(db, loud))


def test_a_webhook_gets_no_events_of_another_tenants_jobs(db: Database) -> None:
    with db.write() as s:
        tenants.get_or_create(s, "theirs")
    hooks = {}
    for tenant in ("default", "theirs"):
        with db.write(tenant) as s:
            hooks[tenant] = webhooks.create(s, "https://hooks.example/", list(deliveries.FIELDS)).id
    finding: dict[str, Any] = {"code": "mode_collapse", "severity": "critical", "message": ""}
    for tenant in hooks:
        job = submit(db, tenant=tenant)
        with db.write() as s:  # a worker sees all rows
            while (claimed := leases.claim(s, "w", "cpu", 0, 60)) is not None and claimed.id != job.id:
                pass
            health.record(s, job.id, 1, 50, "failing", [finding], raised=[finding])
        with db.write(tenant) as s:
            jobs.request_cancel(s, job.id)
        rows = deliveries_of(db, hooks[tenant])
        assert {(row.about, row.tenant) for row in rows} == {(job.id, tenant)} and len(rows) == 3
    with db.read("default") as s:
        assert [row.id for row in webhooks.page(s, limit=9).data] == [hooks["default"]]
        assert s.get(WebhookDelivery, deliveries_of(db, hooks["theirs"])[0].id) is None
    actions: tuple[Callable[[Session, str], object], ...] = (
        *(webhooks.get, webhooks.delete, webhooks.change, deliveries.enqueue_test),
        lambda s, hook: deliveries.page(s, hook, limit=9),
        lambda s, hook: deliveries.redeliver(s, hook, deliveries_of(db, hook)[0].id),
    )
    for action in actions:
        with pytest.raises(WebhookNotFoundError), db.write("default") as s:
            action(s, hooks["theirs"])


def test_a_delivery_is_claimed_once(db: Database, settings: Settings) -> None:
    hook = register(db)
    for _ in range(8):
        submit(db)

    def claim_all(_: int) -> list[str]:
        relay, found = Database(settings.database), list[str]()
        while True:
            with relay.write() as s:
                delivery = deliveries.claim(s, 60)
            if delivery is None:
                relay.dispose()
                return found
            found.append(delivery.id)

    with ThreadPoolExecutor(4) as threads:
        claimed = [delivery_id for found in threads.map(claim_all, range(4)) for delivery_id in found]
    assert sorted(claimed) == sorted(row.id for row in deliveries_of(db, hook)) and len(claimed) == 8


def test_busy_webhooks_and_full_tenants_are_skipped(db: Database) -> None:
    first, second = register(db), register(db)
    submit(db)
    with db.write() as s:
        assert deliveries.has_due(s, busy={first})
        delivery = deliveries.claim(s, 60, busy={first})
        assert delivery is not None and delivery.webhook_id == second
        assert deliveries.claim(s, 60, full={DEFAULT_TENANT}) is None
        assert not deliveries.has_due(s, full={DEFAULT_TENANT})


def test_a_delivery_of_a_lost_relay_is_claimed_again_under_the_same_id(db: Database) -> None:
    hook = register(db)
    submit(db)
    lost = claim(db, lease=-1)
    found = claim(db)
    assert (found.id, found.body, found.attempt) == (lost.id, lost.body, lost.attempt + 1)
    assert record(db, lost, FAILED) is None, "the lost relay wakes late and writes nothing"
    assert record(db, found, ACCEPTED) == "delivered"
    (row,) = deliveries_of(db, hook)
    assert [(t["attempt"], t["status"], t["error"], t["milliseconds"]) for t in row.tries] == [(2, 204, None, 12)]


def test_a_delivery_fails_after_twelve_attempts_over_a_day(db: Database) -> None:
    hook = register(db)
    submit(db)
    delays = []
    for _ in range(11):
        assert record(db, claim(db), FAILED) == "pending"
        (row,) = deliveries_of(db, hook)
        assert row.next_at is not None
        delays.append(row.next_at - row.tries[-1]["at"])
        make_due(db)
    assert record(db, claim(db), FAILED) == "failed"
    (row,) = deliveries_of(db, hook)
    assert row.next_at is None and [t["attempt"] for t in row.tries] == list(range(1, 13))
    assert delays == sorted(delays) and 23 * 3600 < sum(delays) < 27 * 3600
    with db.read() as s:
        assert not deliveries.has_due(s)


def test_a_redelivery_keeps_its_id_and_gets_all_attempts_again(db: Database) -> None:
    hook = register(db)
    submit(db)
    first = claim(db)
    record(db, first, ACCEPTED)
    with db.write() as s:
        assert deliveries.redeliver(s, hook, first.id).state == "pending"
    again = claim(db)
    assert (again.id, again.body, again.attempt) == (first.id, first.body, 2)
    for number in range(11):
        assert record(db, again, FAILED) == "pending", number
        make_due(db)
        again = claim(db)
    assert record(db, again, FAILED) == "failed"


def test_gone_disables_the_webhook_and_fails_its_pending_deliveries(db: Database) -> None:
    hook = register(db)
    submit(db), submit(db)
    assert record(db, claim(db), GONE) == "failed"
    row = webhook_of(db, hook)
    assert not row.enabled and row.disabled_reason is not None and row.disabled_reason["code"] == "gone"
    submit(db)
    assert [row.state for row in deliveries_of(db, hook)] == ["failed", "failed"]
    with pytest.raises(WebhookDisabledError, match="Enable it first"), db.write() as s:
        deliveries.enqueue_test(s, hook)
    with pytest.raises(WebhookDisabledError, match="Enable it first"), db.write() as s:
        deliveries.redeliver(s, hook, deliveries_of(db, hook)[0].id)
    with db.write() as s:
        assert webhooks.change(s, hook, enabled=True).disabled_reason is None
    submit(db)
    assert [row.state for row in deliveries_of(db, hook)] == ["failed", "failed", "pending"]


def test_days_of_failures_disable_a_webhook_and_one_success_resets_them(db: Database) -> None:
    hook = register(db)
    submit(db)

    def failing(count: int, days: float) -> None:
        with db.write() as s:
            since = clock.now() - days * 86_400
            s.execute(update(Webhook).values(failures=count, failing_since=since))

    record(db, claim(db), FAILED)
    assert webhook_of(db, hook).failures == 1 and webhook_of(db, hook).failing_since is not None
    for count, days in ((1000, 2.9), (3, 100)):
        failing(count, days)
        make_due(db)
        record(db, claim(db), FAILED)
        assert webhook_of(db, hook).enabled, (count, days)
    make_due(db)
    record(db, claim(db), ACCEPTED)
    assert (webhook_of(db, hook).failures, webhook_of(db, hook).failing_since) == (0, None)
    failing(19, 3.1)
    submit(db)
    assert record(db, claim(db), FAILED) == "failed"
    row = webhook_of(db, hook)
    assert not row.enabled and row.disabled_reason is not None and row.disabled_reason["code"] == "failing"


def test_a_webhook_can_be_disabled_during_a_delivery(db: Database) -> None:
    hook = register(db)
    submit(db), submit(db)
    first, second = claim(db), claim(db)
    with db.write() as s:
        assert webhooks.change(s, hook, enabled=False).disabled_reason is None
    assert record(db, first, FAILED) == "failed"
    assert record(db, second, ACCEPTED) == "delivered", "the receiver has accepted it"
    assert webhook_of(db, hook).disabled_reason is None


def test_a_webhook_can_be_deleted_during_a_delivery(db: Database) -> None:
    hook = register(db)
    submit(db)
    delivery = claim(db)
    with db.write() as s:
        webhooks.delete(s, hook)
        assert s.scalar(select(func.count()).select_from(WebhookDelivery)) == 0
    assert record(db, delivery, ACCEPTED) is None
    actions: tuple[Callable[[Session, str], object], ...] = (webhooks.get, webhooks.delete, deliveries.enqueue_test)
    for action in actions:
        with pytest.raises(WebhookNotFoundError), db.write() as s:
            action(s, hook)


def test_a_deletion_waits_for_an_event_that_is_being_enqueued(db: Database, settings: Settings) -> None:
    hook = register(db)
    job = submit(db)

    def delete() -> None:
        other = Database(settings.database, statement_timeout=False)
        with other.write() as s:
            webhooks.delete(s, hook)
        other.dispose()

    with ThreadPoolExecutor(1) as threads:
        with db.write() as s:
            jobs.request_cancel(s, job.id)
            deletion = threads.submit(delete)
            time.sleep(0.3)
            assert not deletion.done()
        deletion.result(timeout=60)
    with db.read() as s:
        assert jobs.get(s, job.id).status == "cancelled"
        assert s.scalar(select(func.count()).select_from(WebhookDelivery)) == 0


def test_deliveries_outlive_the_job(db: Database) -> None:
    hook = register(db)
    job = submit(db)
    with db.write() as s:
        jobs.request_cancel(s, job.id)
    with db.write() as s:
        jobs.delete(s, job.id)
    assert [row.about for row in deliveries_of(db, hook)] == [job.id, job.id] and claim(db).webhook_id == hook


def test_a_delivery_from_before_the_clock_was_set_back_is_due(db: Database) -> None:
    register(db)
    submit(db)
    with db.write() as s:
        s.execute(update(WebhookDelivery).values(next_at=clock.now() + 20 * 3600))
    assert claim(db).attempt == 1


def test_deliveries_are_deleted_after_a_month(db: Database) -> None:
    hook = register(db)
    submit(db), submit(db)
    old, young = deliveries_of(db, hook)
    with db.write() as s:
        aged = update(WebhookDelivery).where(WebhookDelivery.id == old.id)
        s.execute(aged.values(created_at=clock.now() - 30 * 86_400 - 1))
        deliveries.delete_old(s)
    assert [row.id for row in deliveries_of(db, hook)] == [young.id]
    with pytest.raises(DeliveryNotFoundError), db.read() as s:
        deliveries.get(s, hook, old.id)


def test_a_delivery_is_not_found_through_another_webhook(db: Database) -> None:
    first, second = register(db), register(db, "health.finding")
    submit(db)
    (row,) = deliveries_of(db, first)
    with pytest.raises(DeliveryNotFoundError), db.read() as s:
        deliveries.get(s, second, row.id)


def test_the_number_of_webhooks_is_limited(db: Database) -> None:
    for _ in range(webhooks.MAX_WEBHOOKS):
        register(db)
    with pytest.raises(TooManyWebhooksError, match="Delete one first"):
        register(db)
    with db.read() as s:
        page = webhooks.page(s, limit=15)
        rest = webhooks.page(s, limit=15, cursor=page.next_cursor)
    assert len({row.id for row in [*page.data, *rest.data]}) == webhooks.MAX_WEBHOOKS
    assert len({row.secret for row in [*page.data, *rest.data]}) == webhooks.MAX_WEBHOOKS


def test_of_two_concurrent_registrations_the_second_counts_the_first(settings: Settings, db: Database) -> None:
    for _ in range(webhooks.MAX_WEBHOOKS - 1):
        register(db)

    def one_more() -> None:
        other = Database(settings.database, statement_timeout=False)
        try:
            register(other)
        finally:
            other.dispose()

    with ThreadPoolExecutor(1) as threads:
        with db.write() as s:
            webhooks.create(s, "https://hooks.example/gantry", ["job.status"])
            second = threads.submit(one_more)
            time.sleep(0.3)
            assert not second.done()
        with pytest.raises(TooManyWebhooksError):
            second.result(timeout=60)
