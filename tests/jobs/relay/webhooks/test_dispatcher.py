"""Tests of the dispatcher from the event to the receiver, with real relays and receivers on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from sqlalchemy import update

from jobs import clock
from jobs.db import Database
from jobs.models import Webhook, WebhookDelivery
from jobs.relay.webhooks import sender
from jobs.relay.webhooks.addresses import AddressChecker
from jobs.relay.webhooks.dispatcher import AT_ONCE, WebhookDispatcher
from jobs.relay.webhooks.sender import WebhookSender
from jobs.runtime import process
from jobs.runtime.settings import Settings
from jobs.store import jobs
from jobs.store.callers import deliveries, webhooks
from tests.api.live_service import until
from tests.jobs.helpers import submit
from tests.jobs.relay.webhooks.receiver import ReceivedRequest, receiving


@contextmanager
def delivering(settings: Settings, sender: WebhookSender | None = None) -> Iterator[None]:
    """Run a dispatcher for the block."""
    stop = threading.Event()
    made = settings.model_copy(update={"webhook_allow_private": True, "webhooks": True})
    dispatcher = WebhookDispatcher(made, stop, sender)
    dispatcher.start()
    try:
        yield
    finally:
        stop.set()
        dispatcher.join(timeout=100)
        assert not dispatcher.is_alive()


def register(db: Database, url: str, *types: str) -> str:
    with db.write() as s:
        return webhooks.create(s, url, types or ["job.status"]).id


def states(db: Database, hook: str) -> list[str]:
    with db.read() as s:
        return [row.state for row in deliveries.page(s, hook, limit=200).data]


def test_status_changes_are_delivered(db: Database, settings: Settings) -> None:
    with receiving() as receiver, delivering(settings):
        hook = register(db, receiver.url)
        job = submit(db)
        until(lambda: states(db, hook) == ["delivered"])
        with db.write() as s:
            jobs.request_cancel(s, job.id)
        until(lambda: states(db, hook) == ["delivered"] * 2)
    bodies = [json.loads(request.body)["data"] for request in receiver.requests]
    assert [(data["job_id"], data["status"]) for data in bodies] == [(job.id, "queued"), (job.id, "cancelled")]
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 2


def test_a_delivery_is_retried_under_the_same_id_until_it_is_accepted(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "RETRY_DELAYS", (0.1,) * 11)
    with receiving(500, 404, 200) as receiver, delivering(settings):
        hook = register(db, receiver.url)
        submit(db)
        until(lambda: states(db, hook) == ["delivered"])
    assert len(receiver.requests) == 3
    assert len({(h.headers["webhook-id"], h.body) for h in receiver.requests}) == 1
    with db.read() as s:
        (row,) = deliveries.page(s, hook, limit=5).data
    assert [(entry["attempt"], entry["status"]) for entry in row.tries] == [(1, 500), (2, 404), (3, 200)]
    assert all(entry["at"] and entry["milliseconds"] >= 0 for entry in row.tries)


def test_two_relays_send_each_delivery_once(db: Database, settings: Settings) -> None:
    def slowly(request: ReceivedRequest) -> int:
        time.sleep(0.1)
        return 200

    with receiving(answer_with=slowly) as receiver, ExitStack() as relays:
        hook = register(db, receiver.url)
        for _ in range(10):
            submit(db)
        for _ in range(2):
            relays.enter_context(delivering(settings))
        until(lambda: states(db, hook) == ["delivered"] * 10)
    ids = [request.headers["webhook-id"] for request in receiver.requests]
    assert len(ids) == len(set(ids)) == 10


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> WebhookSender:
    """Return a sender that waits for a slow receiver for as long as a test may take."""
    monkeypatch.setattr(sender, "_TIMEOUTS", dict.fromkeys(sender._TIMEOUTS, 90.0))
    return WebhookSender(AddressChecker(allow_private=True), in_all_seconds=90)


def test_a_slow_receiver_delays_only_its_own_deliveries(
    db: Database, settings: Settings, patient: WebhookSender
) -> None:
    go = threading.Event()

    def late(request: ReceivedRequest) -> int:
        go.wait(80)
        return 200

    with receiving(answer_with=late) as slow, receiving() as quick, delivering(settings, patient):
        tardy, prompt = register(db, slow.url), register(db, quick.url)
        for _ in range(AT_ONCE + 2):
            submit(db)
        until(lambda: states(db, prompt) == ["delivered"] * (AT_ONCE + 2))
        assert len(slow.requests) == 1 and set(states(db, tardy)) == {"pending"}
        go.set()
        until(lambda: set(states(db, tardy)) == {"delivered"})
    assert slow.most_at_once == 1


def test_a_tenant_gets_at_most_half_of_the_threads(db: Database, settings: Settings, patient: WebhookSender) -> None:
    go = threading.Event()

    def late(request: ReceivedRequest) -> int:
        go.wait(80)
        return 200

    with receiving(answer_with=late) as slow, receiving() as quick, delivering(settings, patient):
        for _ in range(AT_ONCE):
            register(db, slow.url)
        submit(db)
        until(lambda: len(slow.requests) == AT_ONCE // 2)
        with db.write("another") as s:
            other = webhooks.create(s, quick.url, ["job.status"])
            deliveries.enqueue_test(s, other.id)
        until(lambda: states(db, other.id) == ["delivered"])
        assert len(slow.requests) == AT_ONCE // 2
        go.set()
        until(lambda: len(slow.requests) == AT_ONCE)


def test_a_receiver_that_is_gone_gets_nothing_more(db: Database, settings: Settings) -> None:
    with receiving(410) as receiver, delivering(settings):
        hook = register(db, receiver.url)
        submit(db)
        until(lambda: states(db, hook) == ["failed"])
        submit(db)
        with db.read() as s:
            assert not webhooks.get(s, hook).enabled
    assert len(receiver.requests) == 1


def test_a_registered_private_address_is_not_called(db: Database, settings: Settings) -> None:
    with receiving() as receiver, delivering(settings, WebhookSender(AddressChecker())):
        hook = register(db, receiver.url)
        submit(db)
        until(lambda: _tries(db, hook))
    assert receiver.requests == [] and states(db, hook) == ["pending"]


def _tries(db: Database, hook: str) -> int:
    with db.read() as s:
        return sum(len(row.tries) for row in deliveries.page(s, hook, limit=200).data)


def test_an_unexpected_error_does_not_end_the_dispatcher(db: Database, settings: Settings) -> None:
    class FailingSender(WebhookSender):
        def send(self, delivery: deliveries.PendingDelivery) -> deliveries.DeliveryOutcome:
            if delivery.url.endswith("odd"):
                raise RuntimeError("a bug")
            return super().send(delivery)

    with receiving() as receiver, delivering(settings, FailingSender(AddressChecker(allow_private=True))):
        odd, good = register(db, receiver.url + "odd"), register(db, receiver.url)
        submit(db), submit(db)
        until(lambda: states(db, good) == ["delivered"] * 2)
    assert states(db, odd) == ["pending"] * 2


def test_a_relay_killed_before_it_records_the_answer_sends_again_under_the_same_id(
    db: Database, settings: Settings
) -> None:
    """The receiver kills the first relay. The second one takes over after the first is presumed lost."""
    relays: list[subprocess.Popen[bytes]] = []

    def kill_first(request: ReceivedRequest) -> int:
        if len(receiver.requests) == 1:
            process.kill(relays[0])
            relays[0].wait()
        return 200

    made = settings.model_copy(update={"webhooks": True, "webhook_allow_private": True})
    argv, env = [sys.executable, "-m", "jobs.relay"], {**os.environ, **made.environment()}
    with receiving(answer_with=kill_first) as receiver:
        hook = register(db, receiver.url)
        submit(db)
        relays.append(process.spawn(argv, env=env))
        until(lambda: relays[0].poll() is not None)
        assert states(db, hook) == ["pending"]
        with db.write() as s:
            s.execute(update(WebhookDelivery).values(next_at=clock.now() - 1))
        relays.append(process.spawn(argv, env=env))
        try:
            until(lambda: states(db, hook) == ["delivered"])
        finally:
            assert process.end(relays[1], 60) == 0
    first, second = receiver.requests
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)


def test_a_relay_sends_nothing_where_webhooks_are_off(db: Database, settings: Settings) -> None:
    env = {**os.environ, **settings.environment(), "GANTRY_WEBHOOK_ALLOW_PRIVATE": "true"}
    with receiving() as receiver:
        hook = register(db, receiver.url)
        job = submit(db)
        relay = process.spawn([sys.executable, "-m", "jobs.relay"], env=env)
        try:
            until(lambda: _hinted(db, job.id))
            time.sleep(0.5)
        finally:
            assert process.end(relay, 60) == 0
    assert receiver.requests == [] and states(db, hook) == ["pending"]


def _hinted(db: Database, job_id: str) -> bool:
    with db.read() as s:
        return jobs.get(s, job_id).published_at is not None


def test_the_secret_is_stored_for_signing(db: Database) -> None:
    hook = register(db, "https://hooks.example/")
    with db.read() as s:
        row = s.get_one(Webhook, hook)
    assert row.secret.startswith("whsec_") and len(row.secret) == 6 + 44
