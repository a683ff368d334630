"""Webhooks over HTTP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from standardwebhooks import Webhook

from api.routes import webhooks
from jobs.errors import NameLookupBusyError
from jobs.relay.webhooks.dispatcher import WebhookDispatcher
from jobs.runtime.limiter import ConcurrencyLimiter
from jobs.runtime.settings import Settings
from jobs.store.callers import deliveries
from tests.api.apps import asking
from tests.api.conftest import DEFAULT_JOB, FakeWorker, assert_problem
from tests.api.live_service import until
from tests.jobs.relay.webhooks.receiver import Receiver, receiving

PUBLIC = "https://hooks.example/gantry"


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolve hooks.example, which no name server knows."""
    resolve = socket.getaddrinfo

    def fake(host: Any, *args: Any, **more: Any) -> Any:
        return resolve("93.184.216.34" if host == "hooks.example" else host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", fake)


@pytest.fixture
def open_settings(sqlite_settings: Settings) -> Settings:
    """Return settings with webhooks enabled, also for addresses of this host."""
    return sqlite_settings.model_copy(update={"webhooks": True, "webhook_allow_private": True})


@pytest.fixture
def caller(open_settings: Settings) -> Iterator[TestClient]:
    with asking(open_settings) as started:
        yield started


@pytest.fixture
def strict(sqlite_settings: Settings) -> Iterator[TestClient]:
    """Yield a client of a service with webhooks enabled for public addresses only."""
    made = sqlite_settings.model_copy(update={"webhooks": True})
    with asking(made) as started:
        yield started


@pytest.fixture
def delivered(open_settings: Settings) -> Iterator[None]:
    """Yield a running dispatcher."""
    stop = threading.Event()
    dispatcher = WebhookDispatcher(open_settings, stop)
    dispatcher.start()
    yield
    stop.set()
    dispatcher.join(timeout=60)


def _add(client: TestClient, url: str = PUBLIC, **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/webhooks", json={"url": url, **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == f"/v1/webhooks/{made['id']}"
    return made


def _deliveries(client: TestClient, hook: str) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = client.get(f"/v1/webhooks/{hook}/deliveries").json()["data"]
    return data


def test_a_webhook_is_registered_listed_changed_and_deleted(strict: TestClient) -> None:
    made = _add(strict, events=["job.status", "health.finding"])
    assert made["secret"].startswith("whsec_")
    shown = {name: value for name, value in made.items() if name != "secret"}
    assert strict.get(f"/v1/webhooks/{made['id']}").json() == shown, "the secret is shown once"
    assert strict.get("/v1/webhooks").json() == {"data": [shown], "has_more": False, "next_cursor": None}
    path = f"/v1/webhooks/{made['id']}"
    changed = strict.patch(path, json={"enabled": False}).json()
    assert changed == {**shown, "enabled": False}
    assert strict.patch(path, json={"events": ["job.status"]}).json()["events"] == ["job.status"]
    assert strict.patch(path, json={"enabled": True}).json()["enabled"] is True
    assert strict.patch(path, json={}).json()["enabled"] is True
    assert strict.delete(path).status_code == 204
    for method, address in (("GET", path), ("PATCH", path), ("DELETE", path), ("POST", f"{path}/test")):
        sent: dict[str, Any] = {"json": {}} if method == "PATCH" else {}
        assert_problem(strict.request(method, address, **sent), 404, "webhook-not-found")
    for address in (f"{path}/deliveries", f"{path}/deliveries/msg_x", "/v1/webhooks/nonsense"):
        assert_problem(strict.get(address), 404, "webhook-not-found")


def test_omitted_events_default_to_job_status(strict: TestClient) -> None:
    assert _add(strict)["events"] == ["job.status"]


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "/url", "missing-field"),
        ({"url": 3}, "/url", "wrong-type"),
        ({"url": PUBLIC, "events": ["job.statsu"]}, "/events/0", "not-one-of"),
        ({"url": PUBLIC, "events": []}, "/events", "out-of-range"),
        ({"url": PUBLIC, "events": "job.status"}, "/events", "wrong-type"),
        ({"url": PUBLIC, "secret": "whsec_mine"}, "/secret", "unknown-field"),
        ({"url": PUBLIC, "tenant": "another"}, "/tenant", "unknown-field"),
    ],
)
def test_an_invalid_body_is_refused_with_a_pointer(
    strict: TestClient, body: dict[str, Any], pointer: str, code: str
) -> None:
    problem = assert_problem(strict.post("/v1/webhooks", json=body), 422, "invalid-request")
    assert [(e["pointer"], e["code"]) for e in problem["errors"]] == [(pointer, code)]


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://hooks.example/",
            "https://8.8.8.8/",
            "https://127.0.0.1/",
            "https://localhost/",
            "https://[::1]/",
            "https://10.1.2.3/",
        ),
        *("https://169.254.169.254/latest/meta-data", "https://user:pw@hooks.example/", "https://hooks.example:22/"),
        *("https://[::ffff:192.168.0.1]/", "https://2130706433/", "file:///etc/passwd", "https://", "nonsense"),
    ],
)
def test_a_forbidden_address_is_not_registered(strict: TestClient, url: str) -> None:
    body = assert_problem(strict.post("/v1/webhooks", json={"url": url}), 422, "url-not-allowed")
    assert [(e["pointer"], e["code"]) for e in body["errors"]] == [("/url", "url-not-allowed")]
    assert "pw" not in body["detail"]
    assert strict.get("/v1/webhooks").json()["data"] == []


def test_too_many_name_lookups_are_503(strict: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        webhooks, "_lookups", places := ConcurrencyLimiter(1, NameLookupBusyError, "Come back in a moment.")
    )
    with places.slot():
        busy = strict.post("/v1/webhooks", json={"url": PUBLIC})
        assert_problem(busy, 503, "lookups-busy")
        assert busy.headers["Retry-After"] == "5" and strict.get("/v1/webhooks").json()["data"] == []
    _add(strict)


def test_an_invalid_change_is_refused_with_a_pointer(strict: TestClient) -> None:
    path = f"/v1/webhooks/{_add(strict)['id']}"
    for body, pointer in (
        ({"enabled": "yes"}, "/enabled"),
        ({"url": PUBLIC}, "/url"),
        ({"events": [1]}, "/events/0"),
    ):
        problem = assert_problem(strict.patch(path, json=body), 422, "invalid-request")
        assert problem["errors"][0]["pointer"] == pointer


def test_webhooks_are_off_by_default(client: TestClient, strict: TestClient) -> None:
    body = assert_problem(client.post("/v1/webhooks", json={"url": PUBLIC}), 409, "webhooks-off")
    assert "GANTRY_WEBHOOKS=true" in body["detail"]
    path = f"/v1/webhooks/{_add(strict)['id']}"
    for method, address in (("POST", f"{path}/test"), ("POST", f"{path}/deliveries/msg_x/redeliver")):
        assert_problem(client.request(method, address), 409, "webhooks-off")
    assert_problem(client.patch(path, json={"enabled": True}), 409, "webhooks-off")
    assert client.patch(path, json={"enabled": False}).status_code == 200
    assert client.get(path).status_code == 200 and client.delete(path).status_code == 204


def test_a_repeated_registration_creates_one_webhook(strict: TestClient) -> None:
    key = {"Idempotency-Key": "k"}
    first, second = (strict.post("/v1/webhooks", json={"url": PUBLIC}, headers=key) for _ in range(2))
    assert first.content == second.content and second.headers["Idempotency-Replayed"] == "true"
    assert len(strict.get("/v1/webhooks").json()["data"]) == 1
    other = strict.post("/v1/webhooks", json={"url": PUBLIC + "2"}, headers=key)
    assert_problem(other, 422, "idempotency-key-reused")


def test_the_twenty_first_webhook_is_refused(strict: TestClient) -> None:
    for _ in range(20):
        _add(strict)
    assert_problem(strict.post("/v1/webhooks", json={"url": PUBLIC}), 409, "too-many-webhooks")
    page = strict.get("/v1/webhooks?limit=15").json()
    rest = strict.get("/v1/webhooks", params={"limit": 15, "cursor": page["next_cursor"]}).json()
    assert (len(page["data"]), len(rest["data"]), rest["has_more"]) == (15, 5, False)


@pytest.mark.usefixtures("delivered")
def test_status_changes_are_delivered_signed_and_logged(caller: TestClient) -> None:
    with receiving() as receiver:
        hook = _add(caller, receiver.url)
        job_id = caller.post("/v1/jobs", json=DEFAULT_JOB).json()["id"]
        caller.post(f"/v1/jobs/{job_id}/cancel")
        until(lambda: [d["state"] for d in _deliveries(caller, hook["id"])] == ["delivered"] * 2)
    payloads = [Webhook(hook["secret"]).verify(request.body, dict(request.headers)) for request in receiver.requests]
    assert [(t["type"], t["data"]["job_id"]) for t in payloads] == [("job.status", job_id)] * 2
    assert [t["data"]["status"] for t in payloads] == ["queued", "cancelled"]
    last, first = _deliveries(caller, hook["id"])
    assert first["payload"] == payloads[0] and first["id"] == receiver.requests[0].headers["webhook-id"]
    assert caller.get(f"/v1/webhooks/{hook['id']}/deliveries/{last['id']}").json() == last
    (tried,) = first["tries"]
    assert (tried["attempt"], tried["status"], tried["error"], first["next_at"]) == (1, 200, None, None)
    page = caller.get(f"/v1/webhooks/{hook['id']}/deliveries?limit=1").json()
    rest = caller.get(f"/v1/webhooks/{hook['id']}/deliveries", params={"cursor": page["next_cursor"]}).json()
    assert (page["data"], rest["data"]) == ([last], [first])


@pytest.fixture
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delay retries until after the end of the test."""
    monkeypatch.setattr(deliveries, "RETRY_DELAYS", (3600,) * len(deliveries.RETRY_DELAYS))


@pytest.mark.usefixtures("_unhurried", "delivered")
def test_a_test_event_is_delivered_and_can_be_redelivered(caller: TestClient) -> None:
    with receiving(500, 200) as receiver:
        hook = _add(caller, receiver.url)["id"]
        made = caller.post(f"/v1/webhooks/{hook}/test", headers={"Idempotency-Key": "t"})
        assert made.status_code == 201 and made.json()["payload"]["data"] == {"webhook_id": hook}
        again = caller.post(f"/v1/webhooks/{hook}/test", headers={"Idempotency-Key": "t"})
        assert again.json()["id"] == made.json()["id"] and again.headers["Idempotency-Replayed"] == "true"
        address = made.headers["Location"]
        until(lambda: caller.get(address).json()["tries"])
        failed = caller.get(address).json()
        assert (failed["state"], failed["tries"][0]["status"]) == ("pending", 500) and failed["next_at"]
        sent = caller.post(f"{address}/redeliver")
        assert (sent.status_code, sent.headers["Location"]) == (202, address)
        until(lambda: caller.get(address).json()["state"] == "delivered")
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1 and len(receiver.requests) == 2


def test_a_disabled_webhook_gets_no_deliveries(caller: TestClient, fake_worker: FakeWorker) -> None:
    receiver = Receiver()
    hook = _add(caller, receiver.url)["id"]
    fake_worker.submit()
    caller.patch(f"/v1/webhooks/{hook}", json={"enabled": False})
    fake_worker.submit()
    (row,) = _deliveries(caller, hook)
    assert row["state"] == "failed" and row["tries"] == []
    for address in (f"/v1/webhooks/{hook}/test", f"/v1/webhooks/{hook}/deliveries/{row['id']}/redeliver"):
        body = assert_problem(caller.post(address), 409, "webhook-disabled")
        assert '"enabled": true' in body["detail"]
    receiver.server.server_close()
