"""The audit log: every change is logged with the key of its request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.testclient import TestClient

from jobs.db import Database
from jobs.keys import Scope
from jobs.models import DEFAULT_TENANT
from jobs.runtime.settings import Settings
from jobs.status import Status
from jobs.store.callers import acts, api_keys
from tests.api.apps import asking
from tests.api.conftest import DEFAULT_JOB, FakeWorker, assert_problem
from tests.gan.uploads.zips import files, zipped

ACTIONS: Final = {
    ("POST", "/v1/jobs"): "job.submit",
    ("POST", "/v1/jobs/{job_id}/cancel"): "job.cancel",
    ("POST", "/v1/jobs/{job_id}/pause"): "job.pause",
    ("POST", "/v1/jobs/{job_id}/resume"): "job.resume",
    ("POST", "/v1/jobs/{job_id}/retry"): "job.retry",
    ("POST", "/v1/jobs/{job_id}/checkpoints"): "job.checkpoint",
    ("DELETE", "/v1/jobs/{job_id}"): "job.delete",
    ("POST", "/v1/datasets"): "dataset.add",
    ("DELETE", "/v1/datasets/{name_or_id}"): "dataset.delete",
    ("POST", "/v1/webhooks"): "webhook.add",
    ("PATCH", "/v1/webhooks/{webhook_id}"): "webhook.change",
    ("POST", "/v1/webhooks/{webhook_id}/test"): "webhook.test",
    ("POST", "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver"): "webhook.redeliver",
    ("DELETE", "/v1/webhooks/{webhook_id}"): "webhook.delete",
    ("POST", "/v1/workers/{worker_id}/drain"): "worker.drain",
    ("POST", "/v1/keys"): "key.create",
    ("POST", "/v1/keys/{key_id}/rotate"): "key.rotate",
    ("DELETE", "/v1/keys/{key_id}"): "key.revoke",
    ("PATCH", "/v1/tenants/{tenant}"): "tenant.limit",
}
"""The action that the audit log has for each changing route."""


class AdminSession:
    """A service that requires keys, and a client with an administrator's key."""

    def __init__(self, settings: Settings, client: TestClient) -> None:
        self.fake_worker, self.client = FakeWorker(settings, client), client
        with self.fake_worker.db.write() as s:
            made = api_keys.create(s, DEFAULT_TENANT, "a test's", [Scope.ADMIN])
        self.key_id = made.row.id
        client.headers["Authorization"] = f"Bearer {made.key}"

    def ask(self, method: str, path: str, **sent: Any) -> Any:
        """Send a request that must succeed, and return its body."""
        answer = self.client.request(
            method, path, headers={"X-Request-Id": f"{method} {path}"[-100:].replace(" ", "-")}, **sent
        )
        assert answer.is_success, (method, path, answer.text)
        return answer.json() if answer.content else None

    def acts(self, **query: str) -> list[dict[str, Any]]:
        data: list[dict[str, Any]] = self.client.get("/v1/audit", params=query).json()["data"]
        return data


@pytest.fixture
def admin(sqlite_settings: Settings) -> Iterator[AdminSession]:
    settings = sqlite_settings.model_copy(update={"auth": "on", "webhooks": True, "webhook_allow_private": True})
    with asking(settings) as client:
        made = AdminSession(settings, client)
        yield made
        made.fake_worker.db.dispose()


def _change_everything(admin: AdminSession) -> dict[str, str]:
    """Call each route of `ACTIONS` once. Return the id of the subject of each action."""
    ask, fake_worker = admin.ask, admin.fake_worker
    job = ask("POST", "/v1/jobs", json=DEFAULT_JOB)["id"]
    for action in ("pause", "resume", "cancel"):
        ask("POST", f"/v1/jobs/{job}/{action}")
    again = ask("POST", f"/v1/jobs/{job}/retry")["id"]
    while fake_worker.claim() != again:
        pass
    ask("POST", f"/v1/jobs/{again}/checkpoints")
    fake_worker.finish(again, Status.SUCCEEDED)
    ask("DELETE", f"/v1/jobs/{again}")
    archive = {"file": ("mine.zip", zipped(files(each=64)))}
    dataset = ask("POST", "/v1/datasets", files=archive)["id"]
    ask("DELETE", f"/v1/datasets/{dataset}")
    hook = ask("POST", "/v1/webhooks", json={"url": "https://93.184.216.34/"})["id"]
    ask("PATCH", f"/v1/webhooks/{hook}", json={"events": ["health.finding"]})
    delivery = ask("POST", f"/v1/webhooks/{hook}/test")["id"]
    ask("POST", f"/v1/webhooks/{hook}/deliveries/{delivery}/redeliver")
    ask("DELETE", f"/v1/webhooks/{hook}")
    worker = fake_worker.worker()
    ask("POST", f"/v1/workers/{worker}/drain")
    key = ask("POST", "/v1/keys", json={"name": "ci", "tenant": "vision", "scopes": ["jobs:read"]})["id"]
    ask("POST", f"/v1/keys/{key}/rotate", json={})
    ask("DELETE", f"/v1/keys/{key}")
    ask("PATCH", "/v1/tenants/vision", json={"max_queued": 3})
    return {
        **dict.fromkeys(("job.submit", "job.pause", "job.resume", "job.cancel"), job),
        **dict.fromkeys(("job.retry", "job.checkpoint", "job.delete"), again),
        **dict.fromkeys(("dataset.add", "dataset.delete"), dataset),
        **dict.fromkeys([action for action in ACTIONS.values() if action.startswith("webhook.")], hook),
        "worker.drain": worker,
        "key.rotate": key,
        "key.revoke": key,
        "tenant.limit": "vision",
    }


def test_every_changing_route_is_logged(admin: AdminSession) -> None:
    subjects = _change_everything(admin)
    found = admin.acts(limit="200")
    assert {row["actor"] for row in found} == {admin.key_id}
    about = {(row["action"], row["subject"]) for row in found}
    assert set(subjects.items()) <= about, set(subjects.items()) - about
    assert {row["action"] for row in found} == set(ACTIONS.values())
    assert all(row["request_id"] and row["at"].endswith("Z") for row in found)
    whose = {row["action"]: row["tenant"] for row in found}
    assert (whose["key.revoke"], whose["tenant.limit"], whose["job.cancel"]) == ("vision", "vision", "default")
    assert not any("gan_live_" in str(row) or "whsec_" in str(row) for row in found)


def test_every_changing_route_has_an_action(admin: AdminSession) -> None:
    changing = {
        (method, context.path)
        for context in iter_route_contexts(admin.client.app.routes)  # type: ignore[attr-defined]
        if isinstance(context.original_route, APIRoute) and context.path is not None
        for method in context.methods or ()
        if method not in ("GET", "HEAD")
    }
    assert changing == set(ACTIONS)


def test_a_jobs_events_have_the_actor(admin: AdminSession) -> None:
    job = admin.ask("POST", "/v1/jobs", json=DEFAULT_JOB)["id"]
    while admin.fake_worker.claim() != job:
        pass
    admin.ask("POST", f"/v1/jobs/{job}/cancel")
    admin.fake_worker.finish(job, Status.CANCELLED)
    events = admin.ask("GET", f"/v1/jobs/{job}/events")["data"]
    assert [(event["data"]["status"], event["actor"]) for event in events] == [
        ("queued", admin.key_id),
        ("running", None),
        ("cancelled", admin.key_id),
    ]


def test_a_replayed_request_is_logged_once(admin: AdminSession) -> None:
    for _ in range(2):
        admin.client.post("/v1/jobs", json=DEFAULT_JOB, headers={"Idempotency-Key": "k"})
    assert len(admin.acts()) == 1


def test_the_log_is_filtered_and_paged(admin: AdminSession) -> None:
    subjects = _change_everything(admin)
    job = subjects["job.submit"]
    assert [row["action"] for row in admin.acts(subject=job)] == [
        "job.cancel",
        "job.resume",
        "job.pause",
        "job.submit",
    ]
    assert {row["subject"] for row in admin.acts(tenant="vision")} >= {"vision", subjects["key.revoke"]}
    assert admin.acts(actor="local") == []
    page = admin.client.get("/v1/audit?limit=5").json()
    rest = admin.client.get("/v1/audit", params={"limit": 200, "cursor": page["next_cursor"]}).json()
    assert page["has_more"] and not rest["has_more"]
    assert [*page["data"], *rest["data"]] == admin.acts(limit="200")
    assert_problem(admin.client.get("/v1/audit?cursor=x"), 422, "bad-cursor")


def test_without_keys_the_actor_is_local(client: TestClient, fake_worker: FakeWorker) -> None:
    job = fake_worker.submit()
    (row,) = client.get("/v1/audit").json()["data"]
    assert (row["actor"], row["action"], row["subject"]) == (acts.LOCAL, "job.submit", job)


def test_the_first_key_is_logged(sqlite_settings: Settings) -> None:
    from jobs.first_key import first_key

    assert first_key(sqlite_settings) is not None
    db = Database(sqlite_settings.database)
    with db.read() as s:
        assert [(row.actor, row.action) for row in acts.page(s, limit=5).data] == [(acts.LOCAL, "key.create")]
    db.dispose()
