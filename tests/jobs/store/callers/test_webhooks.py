"""What webhooks are to be told, as the record keeps it: with the event or not at all, once at a time, for a day."""

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

TAKEN = DeliveryOutcome(204, None, 12)
REFUSED = DeliveryOutcome(503, "The receiver failed.", 12)
GONE = DeliveryOutcome(410, "The receiver refused the delivery.", 12)


def hooked(db: Database, *types: str) -> str:
    """A webhook that is told of events of these types; its id."""
    with db.write() as s:
        return webhooks.create(s, "https://hooks.example/gantry", types or ["job.status"]).id


def told(db: Database, webhook_id: str) -> list[WebhookDelivery]:
    """All deliveries of it, oldest first."""
    with db.read() as s:
        return deliveries.page(s, webhook_id, limit=200).data[::-1]


def taken(db: Database, lease: float = 60) -> PendingDelivery:
    """The letter that is due first."""
    with db.write() as s:
        delivery = deliveries.claim(s, lease)
    assert delivery is not None
    return delivery


def settled(db: Database, delivery: PendingDelivery, outcome: DeliveryOutcome) -> str | None:
    with db.write() as s:
        return deliveries.record_outcome(s, delivery, outcome)


def hurry(db: Database) -> None:
    """Let whatever is pending be due now."""
    with db.write() as s:
        s.execute(update(WebhookDelivery).where(WebhookDelivery.state == "pending").values(next_at=clock.now() - 1))


def hook_of(db: Database, webhook_id: str) -> Webhook:
    with db.read() as s:
        return webhooks.get(s, webhook_id)


def test_an_event_and_what_is_to_be_told_of_it_are_one(db: Database) -> None:
    hook = hooked(db)
    job = submit(db)
    (first,) = told(db, hook)
    body = json.loads(first.body)
    assert (first.type, first.about, first.state, first.tries) == ("job.status", job.id, "pending", [])
    assert body["type"] == "job.status" and body["timestamp"].endswith("Z")
    assert body["data"] == {"job_id": job.id, "seq": 1, "attempt": 0, "status": "queued"}
    with pytest.raises(RuntimeError), db.write() as s:
        jobs.request_cancel(s, job.id)
        raise RuntimeError
    assert len(told(db, hook)) == 1
    with db.read() as s:
        assert len(events.page(s, job.id, 0, 10)) == 1


def test_every_move_of_a_job_is_told_in_order(db: Database) -> None:
    hook = hooked(db)
    job = submit(db)
    with db.write() as s:
        leases.claim(s, "w", "cpu", 0, 60)
        jobs.request_cancel(s, job.id)
        leases.release(s, job.id, 1, crash=False, reason={"code": "stopped", "message": "As asked."})
    statuses = [json.loads(row.body)["data"]["status"] for row in told(db, hook)]
    assert statuses == ["queued", "running", "cancelled"]


def test_a_webhook_is_told_of_its_own_types_and_no_words_of_people(db: Database) -> None:
    loud, quiet = hooked(db, "job.status", "health.finding"), hooked(db, "health.finding")
    job = submit(db, name="a secret project")
    finding: dict[str, Any] = {"code": "mode_collapse", "severity": "critical", "message": "All images are alike."}
    with db.write() as s:
        leases.claim(s, "w", "cpu", 0, 60)
        health.record(s, job.id, 1, 50, "failing", [finding], raised=[finding])
    assert [row.type for row in told(db, loud)] == ["job.status", "job.status", "health.finding"]
    (only,) = told(db, quiet)
    data = json.loads(only.body)["data"]
    assert (data["code"], data["severity"], data["verdict"]) == ("mode_collapse", "critical", "failing")
    assert not any("alike" in row.body or "secret project" in row.body for row in told(db, loud))


def test_no_tenants_webhook_hears_of_anothers_job(db: Database) -> None:
    with db.write() as s:
        tenants.get_or_create(s, "theirs")
    hooks = {}
    for tenant in ("default", "theirs"):
        with db.write(tenant) as s:
            hooks[tenant] = webhooks.create(s, "https://hooks.example/", list(deliveries.FIELDS)).id
    finding: dict[str, Any] = {"code": "mode_collapse", "severity": "critical", "message": ""}
    for tenant in hooks:
        job = submit(db, tenant=tenant)
        with db.write() as s:  # a worker, which sees all
            while (claimed := leases.claim(s, "w", "cpu", 0, 60)) is not None and claimed.id != job.id:
                pass
            health.record(s, job.id, 1, 50, "failing", [finding], raised=[finding])
        with db.write(tenant) as s:
            jobs.request_cancel(s, job.id)
        rows = told(db, hooks[tenant])
        assert {(row.about, row.tenant) for row in rows} == {(job.id, tenant)} and len(rows) == 3
    with db.read("default") as s:
        assert [row.id for row in webhooks.page(s, limit=9).data] == [hooks["default"]]
        assert s.get(WebhookDelivery, told(db, hooks["theirs"])[0].id) is None
    acts: tuple[Callable[[Session, str], object], ...] = (
        *(webhooks.get, webhooks.delete, webhooks.change, deliveries.enqueue_test),
        lambda s, hook: deliveries.page(s, hook, limit=9),
        lambda s, hook: deliveries.redeliver(s, hook, told(db, hook)[0].id),
    )
    for act in acts:
        with pytest.raises(WebhookNotFoundError), db.write("default") as s:
            act(s, hooks["theirs"])


def test_a_delivery_is_in_one_pair_of_hands(db: Database, settings: Settings) -> None:
    hook = hooked(db)
    for _ in range(8):
        submit(db)

    def take_all(_: int) -> list[str]:
        relay, found = Database(settings.database), list[str]()
        while True:
            with relay.write() as s:
                delivery = deliveries.claim(s, 60)
            if delivery is None:
                relay.dispose()
                return found
            found.append(delivery.id)

    with ThreadPoolExecutor(4) as threads:
        hands = [letter_id for found in threads.map(take_all, range(4)) for letter_id in found]
    assert sorted(hands) == sorted(row.id for row in told(db, hook)) and len(hands) == 8


def test_what_is_busy_is_passed_over(db: Database) -> None:
    first, second = hooked(db), hooked(db)
    submit(db)
    with db.write() as s:
        assert deliveries.has_due(s, busy={first})
        delivery = deliveries.claim(s, 60, busy={first})
        assert delivery is not None and delivery.webhook_id == second
        assert deliveries.claim(s, 60, full={DEFAULT_TENANT}) is None
        assert not deliveries.has_due(s, full={DEFAULT_TENANT})


def test_what_a_lost_relay_had_in_hand_is_sent_by_another_under_the_same_id(db: Database) -> None:
    hook = hooked(db)
    submit(db)
    lost = taken(db, lease=-1)
    found = taken(db)
    assert (found.id, found.body, found.attempt) == (lost.id, lost.body, lost.attempt + 1)
    assert settled(db, lost, REFUSED) is None, "it wakes late, and writes nothing"
    assert settled(db, found, TAKEN) == "delivered"
    (row,) = told(db, hook)
    assert [(t["attempt"], t["status"], t["error"], t["milliseconds"]) for t in row.tries] == [(2, 204, None, 12)]


def test_it_is_tried_twelve_times_over_a_day_and_then_given_up(db: Database) -> None:
    hook = hooked(db)
    submit(db)
    pauses = []
    for _ in range(11):
        assert settled(db, taken(db), REFUSED) == "pending"
        (row,) = told(db, hook)
        assert row.next_at is not None
        pauses.append(row.next_at - row.tries[-1]["at"])
        hurry(db)
    assert settled(db, taken(db), REFUSED) == "failed"
    (row,) = told(db, hook)
    assert row.next_at is None and [t["attempt"] for t in row.tries] == list(range(1, 13))
    assert pauses == sorted(pauses) and 23 * 3600 < sum(pauses) < 27 * 3600
    with db.read() as s:
        assert not deliveries.has_due(s)


def test_delivered_again_it_has_its_old_id_and_all_attempts(db: Database) -> None:
    hook = hooked(db)
    submit(db)
    first = taken(db)
    settled(db, first, TAKEN)
    with db.write() as s:
        assert deliveries.redeliver(s, hook, first.id).state == "pending"
    again = taken(db)
    assert (again.id, again.body, again.attempt) == (first.id, first.body, 2)
    for number in range(11):
        assert settled(db, again, REFUSED) == "pending", number
        hurry(db)
        again = taken(db)
    assert settled(db, again, REFUSED) == "failed"


def test_gone_disables_and_whatever_was_pending_has_failed(db: Database) -> None:
    hook = hooked(db)
    submit(db), submit(db)
    assert settled(db, taken(db), GONE) == "failed"
    row = hook_of(db, hook)
    assert not row.enabled and row.disabled_reason is not None and row.disabled_reason["code"] == "gone"
    submit(db)
    assert [row.state for row in told(db, hook)] == ["failed", "failed"]
    with pytest.raises(WebhookDisabledError, match="Enable it first"), db.write() as s:
        deliveries.enqueue_test(s, hook)
    with pytest.raises(WebhookDisabledError, match="Enable it first"), db.write() as s:
        deliveries.redeliver(s, hook, told(db, hook)[0].id)
    with db.write() as s:
        assert webhooks.change(s, hook, enabled=True).disabled_reason is None
    submit(db)
    assert [row.state for row in told(db, hook)] == ["failed", "failed", "pending"]


def test_days_of_failures_disable_and_one_success_begins_anew(db: Database) -> None:
    hook = hooked(db)
    submit(db)

    def failing(count: int, days: float) -> None:
        with db.write() as s:
            since = clock.now() - days * 86_400
            s.execute(update(Webhook).values(failures=count, failing_since=since))

    settled(db, taken(db), REFUSED)
    assert hook_of(db, hook).failures == 1 and hook_of(db, hook).failing_since is not None
    for count, days in ((1000, 2.9), (3, 100)):
        failing(count, days)
        hurry(db)
        settled(db, taken(db), REFUSED)
        assert hook_of(db, hook).enabled, (count, days)
    hurry(db)
    settled(db, taken(db), TAKEN)
    assert (hook_of(db, hook).failures, hook_of(db, hook).failing_since) == (0, None)
    failing(19, 3.1)
    submit(db)
    assert settled(db, taken(db), REFUSED) == "failed"
    row = hook_of(db, hook)
    assert not row.enabled and row.disabled_reason is not None and row.disabled_reason["code"] == "failing"


def test_disabled_while_it_is_being_told(db: Database) -> None:
    hook = hooked(db)
    submit(db), submit(db)
    first, second = taken(db), taken(db)
    with db.write() as s:
        assert webhooks.change(s, hook, enabled=False).disabled_reason is None
    assert settled(db, first, REFUSED) == "failed"
    assert settled(db, second, TAKEN) == "delivered", "it was heard, after all"
    assert hook_of(db, hook).disabled_reason is None


def test_deleted_while_it_is_being_told(db: Database) -> None:
    hook = hooked(db)
    submit(db)
    delivery = taken(db)
    with db.write() as s:
        webhooks.delete(s, hook)
        assert s.scalar(select(func.count()).select_from(WebhookDelivery)) == 0
    assert settled(db, delivery, TAKEN) is None
    acts: tuple[Callable[[Session, str], object], ...] = (webhooks.get, webhooks.delete, deliveries.enqueue_test)
    for act in acts:
        with pytest.raises(WebhookNotFoundError), db.write() as s:
            act(s, hook)


def test_a_deletion_waits_for_an_event_that_is_being_told(db: Database, settings: Settings) -> None:
    hook = hooked(db)
    job = submit(db)

    def forget() -> None:
        other = Database(settings.database, statement_timeout=False)
        with other.write() as s:
            webhooks.delete(s, hook)
        other.dispose()

    with ThreadPoolExecutor(1) as threads:
        with db.write() as s:
            jobs.request_cancel(s, job.id)
            gone = threads.submit(forget)
            time.sleep(0.3)
            assert not gone.done()
        gone.result(timeout=60)
    with db.read() as s:
        assert jobs.get(s, job.id).status == "cancelled"
        assert s.scalar(select(func.count()).select_from(WebhookDelivery)) == 0


def test_what_is_to_be_told_outlives_the_job(db: Database) -> None:
    hook = hooked(db)
    job = submit(db)
    with db.write() as s:
        jobs.request_cancel(s, job.id)
    with db.write() as s:
        jobs.delete(s, job.id)
    assert [row.about for row in told(db, hook)] == [job.id, job.id] and taken(db).webhook_id == hook


def test_a_delivery_of_a_clock_that_was_set_back_is_due(db: Database) -> None:
    hooked(db)
    submit(db)
    with db.write() as s:
        s.execute(update(WebhookDelivery).values(next_at=clock.now() + 20 * 3600))
    assert taken(db).attempt == 1


def test_a_month_later_it_is_forgotten(db: Database) -> None:
    hook = hooked(db)
    submit(db), submit(db)
    old, young = told(db, hook)
    with db.write() as s:
        aged = update(WebhookDelivery).where(WebhookDelivery.id == old.id)
        s.execute(aged.values(created_at=clock.now() - 30 * 86_400 - 1))
        deliveries.delete_old(s)
    assert [row.id for row in told(db, hook)] == [young.id]
    with pytest.raises(DeliveryNotFoundError), db.read() as s:
        deliveries.get(s, hook, old.id)


def test_another_webhooks_delivery_is_none_of_its(db: Database) -> None:
    first, second = hooked(db), hooked(db, "health.finding")
    submit(db)
    (row,) = told(db, first)
    with pytest.raises(DeliveryNotFoundError), db.read() as s:
        deliveries.get(s, second, row.id)


def test_there_is_a_most(db: Database) -> None:
    for _ in range(webhooks.MAX_WEBHOOKS):
        hooked(db)
    with pytest.raises(TooManyWebhooksError, match="Delete one first"):
        hooked(db)
    with db.read() as s:
        page = webhooks.page(s, limit=15)
        rest = webhooks.page(s, limit=15, cursor=page.next_cursor)
    assert len({row.id for row in [*page.data, *rest.data]}) == webhooks.MAX_WEBHOOKS
    assert len({row.secret for row in [*page.data, *rest.data]}) == webhooks.MAX_WEBHOOKS


def test_of_two_that_come_at_the_same_time_the_second_counts_the_first(settings: Settings, db: Database) -> None:
    for _ in range(webhooks.MAX_WEBHOOKS - 1):
        hooked(db)

    def one_more() -> None:
        other = Database(settings.database, statement_timeout=False)
        try:
            hooked(other)
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
