"""Keys over HTTP: authentication, scopes, quotas, and the separation of tenants."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.testclient import TestClient

from api import auth
from api.app import create_app
from api.auth import scope_of
from api.routes import jobs as job_routes
from jobs.db import Database
from jobs.keys import Scope, new_key
from jobs.runtime.settings import Settings
from jobs.status import Status
from jobs.store import workers
from jobs.store.callers import api_keys
from tests.api.apps import asking
from tests.api.conftest import DEFAULT_JOB, FakeWorker, assert_problem
from tests.gan.uploads.zips import files, zipped

OPEN: Final = {"/healthz", "/readyz", "/openapi.json", "/", "/docs", "/redoc", "/docs/oauth2-redirect"}
_ALL: Final = list(Scope)


@dataclass
class SecuredService:
    """A service that requires keys."""

    client: TestClient
    db: Database
    fake_worker: FakeWorker

    def key(self, *scopes: Scope, tenant: str = "default", seconds: float | None = None) -> dict[str, str]:
        """Create a key and return its Authorization header."""
        with self.db.write() as s:
            made = api_keys.create(s, tenant, "a test's", scopes, expires_in_seconds=seconds)
        return {"Authorization": f"Bearer {made.key}"}


@pytest.fixture
def secured(sqlite_settings: Settings) -> Iterator[SecuredService]:
    settings = sqlite_settings.model_copy(update={"auth": "on", "webhooks": True, "webhook_allow_private": True})
    with _opened(settings) as opened:
        yield opened


@contextmanager
def _opened(settings: Settings) -> Iterator[SecuredService]:
    with asking(settings) as client:
        fake_worker = FakeWorker(settings, client)
        yield SecuredService(client, fake_worker.db, fake_worker)
        fake_worker.db.dispose()


def _routes(app: FastAPI) -> list[tuple[str, str, APIRoute]]:
    """Return method, path and route of every route."""
    return [
        (method, context.path, context.original_route)
        for context in iter_route_contexts(app.routes)
        if isinstance(context.original_route, APIRoute) and context.path is not None
        for method in sorted(context.methods or ())
    ]


def _scoped(app: FastAPI) -> list[tuple[str, str, Scope]]:
    found = [(method, path, scope_of(route)) for method, path, route in _routes(app)]
    return [(method, path, scope) for method, path, scope in found if scope is not None]


def _filled(path: str, **ids: str) -> str:
    names = {"step:step": "0", "tenant": "x", "key_id": "x", "worker_id": "x", "name": "cgan", **ids}
    for name, value in names.items():
        path = path.replace(f"{{{name}}}", value)
    assert "{" not in path, f"add a value for the path parameter of {path}"
    return path


def test_every_route_states_a_scope_or_is_known_to_be_open(secured: SecuredService) -> None:
    routes = _routes(secured.client.app)  # type: ignore[arg-type]
    assert len(routes) > 35
    assert {path for _, path, route in routes if scope_of(route) is None} == OPEN


def test_a_route_without_a_scope_fails(secured: SecuredService) -> None:
    router = APIRouter()

    @router.get("/v1/forgotten")
    def forgotten() -> str:
        return "a secret"

    app = secured.client.app
    assert isinstance(app, FastAPI)
    app.include_router(router)
    (route,) = [route for _, path, route in _routes(app) if path == "/v1/forgotten"]
    with pytest.raises(AssertionError, match="states 0 scopes"):
        scope_of(route)
    answer = secured.client.get("/v1/forgotten", headers=secured.key(*_ALL))
    assert answer.status_code == 500 and "secret" not in answer.text


IDS: Final = {
    "job_id": "job_x",
    "checkpoint_id": "ckpt_x",
    "name_or_id": "x",
    "webhook_id": "hook_x",
    "delivery_id": "msg_x",
}


def test_every_route_refuses_missing_expired_and_unknown_keys(secured: SecuredService) -> None:
    over, unknown = secured.key(*_ALL, seconds=-1), {"Authorization": f"Bearer {new_key()}"}
    basic, typo = {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer gan_live_x"}
    bodies = set()
    for method, path, _ in _scoped(secured.client.app):  # type: ignore[arg-type]
        address = _filled(path, **IDS)
        body = assert_problem(secured.client.request(method, address), 401, "missing-api-key")
        assert "Bearer" in body["detail"]
        for headers in (over, unknown, basic, typo):
            answer = secured.client.request(method, address, headers=headers, params={"colour": "red"}, content=b"{")
            body = assert_problem(answer, 401, "invalid-api-key")
            bodies.add(body["detail"])
            assert answer.headers["www-authenticate"].startswith("Bearer")
    assert len(bodies) == 1, "the response must not show why the key is invalid"


def test_a_key_opens_only_the_routes_of_its_scopes(secured: SecuredService) -> None:
    keys = {scope: secured.key(scope) for scope in Scope}
    for method, path, needed in _scoped(secured.client.app):  # type: ignore[arg-type]
        for scope, headers in keys.items():
            answer = secured.client.request(method, _filled(path, **IDS), headers=headers)
            if scope in (needed, Scope.ADMIN):
                assert answer.status_code not in (401, 403), (method, path, scope, answer.text)
            else:
                body = assert_problem(answer, 403, "insufficient-scope")
                assert needed in body["detail"], (method, path)


def _belongings(secured: SecuredService, headers: dict[str, str], tenant: str) -> dict[str, str]:
    """Create one resource of every kind for a tenant. Return their ids by the names of the path parameters."""
    hook = secured.client.post("/v1/webhooks", json={"url": "https://93.184.216.34/"}, headers=headers).json()["id"]
    job_id = secured.client.post("/v1/jobs", json=DEFAULT_JOB, headers=headers).json()["id"]
    (delivery,) = secured.client.get(f"/v1/webhooks/{hook}/deliveries", headers=headers).json()["data"]
    while secured.fake_worker.claim() != job_id:
        pass
    saved = secured.fake_worker.checkpoint(job_id, 10, best=True)
    secured.fake_worker.preview(job_id, 0, 3)
    secured.fake_worker.progress(job_id, 10, loss_d=0.5)
    archive = ("x.zip", zipped(files("a", "b")))
    named = {"name": f"{tenant}-shoes"}
    made = secured.client.post("/v1/datasets", data=named, files={"file": archive}, headers=headers)
    assert made.status_code == 201, made.text
    webhook = {"webhook_id": hook, "delivery_id": delivery["id"]}
    return {"job_id": job_id, "checkpoint_id": saved.id, "name_or_id": made.json()["id"], **webhook}


def _blank(text: str, ids: dict[str, str]) -> str:
    """Return the text without these ids."""
    for value in ids.values():
        text = text.replace(value, "ID")
    return text


def test_resources_of_other_tenants_look_unknown_on_every_route(secured: SecuredService) -> None:
    theirs, ours = (
        secured.key(*_ALL, tenant="theirs"),
        secured.key(Scope.JOBS_READ, Scope.JOBS_WRITE, Scope.DATASETS_WRITE),
    )
    things = _belongings(secured, theirs, "theirs")
    nowhere = {name: value[:-6] + "000000" for name, value in things.items()}
    crossed = 0
    for method, path, needed in _scoped(secured.client.app):  # type: ignore[arg-type]
        if needed is Scope.ADMIN or not any(f"{{{name}}}" in path for name in things):
            continue
        crossed += 1
        body: dict[str, Any] | None = {} if method == "PATCH" else None
        other, none = (
            secured.client.request(method, _filled(path, **ids), headers={**ours, "X-Request-Id": "same"}, json=body)
            for ids in (things, nowhere)
        )
        assert other.status_code == 404, (method, path, other.text)
        blank = _blank(other.text, things)
        assert blank != other.text and blank == _blank(none.text, nowhere), (method, path)
    assert crossed >= 26
    for name, address in (("job_id", "/v1/jobs/{job_id}"), ("name_or_id", "/v1/datasets/{name_or_id}")):
        mine = secured.client.get(_filled(address, **things), headers=theirs)
        assert mine.status_code == 200 and mine.json()["id"] == things[name], "the resources exist"


def test_lists_show_a_tenants_own(secured: SecuredService) -> None:
    theirs, ours = secured.key(*_ALL, tenant="theirs"), secured.key(*_ALL, tenant="ours")
    things = _belongings(secured, theirs, "theirs")
    assert secured.client.get("/v1/jobs", headers=ours).json()["data"] == []
    assert [job["id"] for job in secured.client.get("/v1/jobs", headers=theirs).json()["data"]] == [things["job_id"]]
    names = [row["name"] for row in secured.client.get("/v1/datasets", headers=ours).json()["data"]]
    assert "fashion-mnist-mini" in names and "theirs-shoes" not in names
    taken = secured.client.post("/v1/jobs", json={**DEFAULT_JOB, "dataset": "theirs-shoes"}, headers=ours)
    assert "theirs-shoes" not in assert_problem(taken, 422, "unknown-dataset")["valid_datasets"]


def test_streams_and_waits_are_limited_to_own_jobs(secured: SecuredService) -> None:
    theirs, ours = secured.key(*_ALL, tenant="theirs"), secured.key(*_ALL, tenant="ours")
    job_id = secured.client.post("/v1/jobs", json=DEFAULT_JOB, headers=theirs).json()["id"]
    stream = {"Accept": "text/event-stream"}
    assert secured.client.get(f"/v1/jobs/{job_id}/events", headers={**ours, **stream}).status_code == 404
    held = {"If-None-Match": '"x"', "Prefer": "wait=5"}
    assert secured.client.get(f"/v1/jobs/{job_id}", headers={**ours, **held}).status_code == 404
    secured.client.post(f"/v1/jobs/{job_id}/cancel", headers=theirs)
    own = secured.client.get(f"/v1/jobs/{job_id}/events", headers={**theirs, **stream})
    assert own.status_code == 200 and "stream.end" in own.text


def test_an_idempotency_key_belongs_to_its_tenant(secured: SecuredService) -> None:
    once = {"Idempotency-Key": "the-same"}
    made = [
        secured.client.post("/v1/jobs", json=DEFAULT_JOB, headers={**secured.key(*_ALL, tenant=tenant), **once})
        for tenant in ("ours", "theirs", "theirs")
    ]
    ids = [answer.json()["id"] for answer in made]
    assert ids[0] != ids[1] == ids[2] and made[2].headers["Idempotency-Replayed"] == "true"


def test_a_worker_shows_only_own_jobs(secured: SecuredService) -> None:
    theirs, ours = secured.key(*_ALL, tenant="theirs"), secured.key(*_ALL, tenant="ours")
    job_id = secured.client.post("/v1/jobs", json=DEFAULT_JOB, headers=theirs).json()["id"]
    worker = secured.fake_worker.worker()
    with secured.db.write() as s:
        workers.set_current_job(s, worker, job_id)
    for headers, shown in ((ours, None), (theirs, job_id)):
        (row,) = secured.client.get("/v1/workers", headers=headers).json()["data"]
        assert row["current_job_id"] == shown and row["status"] == "busy"


def test_a_key_is_created_shown_once_rotated_and_revoked(
    secured: SecuredService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "REMEMBERED_SECONDS", 0.0)
    admin = secured.key(Scope.ADMIN)
    made = secured.client.post(
        "/v1/keys", json={"name": "ci", "tenant": "acme", "scopes": ["jobs:read"]}, headers=admin
    )
    assert made.status_code == 201 and made.headers["Location"] == f"/v1/keys/{made.json()['id']}"
    body = made.json()
    assert body["key"].startswith(f"gan_live_{body['handle']}")
    theirs = {"Authorization": f"Bearer {body['key']}"}
    assert secured.client.get("/v1/jobs", headers=theirs).status_code == 200
    listed = secured.client.get("/v1/keys", headers=admin)
    assert body["key"] not in listed.text and listed.json()["data"][0]["last_used_at"] is not None
    new = secured.client.post(f"/v1/keys/{body['id']}/rotate", json={"overlap_seconds": 0}, headers=admin).json()
    assert secured.client.get("/v1/jobs", headers=theirs).status_code == 401
    theirs = {"Authorization": f"Bearer {new['key']}"}
    assert secured.client.get("/v1/jobs", headers=theirs).status_code == 200
    for _ in range(2):
        assert secured.client.delete(f"/v1/keys/{new['id']}", headers=admin).json()["revoked_at"] is not None
    assert secured.client.get("/v1/jobs", headers=theirs).status_code == 401


def test_a_revoked_key_works_for_seconds_at_most(secured: SecuredService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "REMEMBERED_SECONDS", 0.2)
    admin, theirs = secured.key(Scope.ADMIN), secured.key(Scope.JOBS_READ, tenant="acme")
    assert secured.client.get("/v1/jobs", headers=theirs).status_code == 200
    key_id = secured.client.get("/v1/keys", headers=admin).json()["data"][0]["id"]
    secured.client.delete(f"/v1/keys/{key_id}", headers=admin)
    time.sleep(0.25)
    assert secured.client.get("/v1/jobs", headers=theirs).status_code == 401


def test_a_wait_ends_with_401_if_the_key_is_revoked_meanwhile(
    secured: SecuredService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_routes, "REMEMBERED_SECONDS", 0.1)
    admin, theirs = secured.key(Scope.ADMIN), secured.key(Scope.JOBS_READ, Scope.JOBS_WRITE)
    job_id = secured.client.post("/v1/jobs", json=DEFAULT_JOB, headers=theirs).json()["id"]
    assert secured.fake_worker.claim() == job_id
    url, key_id = f"/v1/jobs/{job_id}", secured.client.get("/v1/keys", headers=admin).json()["data"][0]["id"]
    waits = {"If-None-Match": secured.client.get(url, headers=theirs).headers["ETag"], "Prefer": "wait=30", **theirs}
    with ThreadPoolExecutor(1) as apart:
        answer = apart.submit(secured.client.get, url, headers=waits)
        time.sleep(0.5)
        assert not answer.done()
        secured.client.delete(f"/v1/keys/{key_id}", headers=admin)
        secured.fake_worker.progress(job_id, 7)
        assert_problem(answer.result(), 401, "invalid-api-key")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "x", "scopes": []}, "/scopes"),
        ({"name": "x", "scopes": ["root"]}, "/scopes/0"),
        ({"name": "a\nb", "scopes": ["admin"]}, "/name"),
        ({"name": "x", "scopes": ["admin"], "tenant": "../x"}, "/tenant"),
        ({"name": "x", "scopes": ["admin"], "role": "x"}, "/role"),
        ({"name": "x", "scopes": ["admin"], "expires_in_days": 0}, "/expires_in_days"),
    ],
)
def test_an_invalid_new_key_is_refused_with_a_pointer(
    secured: SecuredService, body: dict[str, Any], pointer: str
) -> None:
    answer = secured.client.post("/v1/keys", json=body, headers=secured.key(Scope.ADMIN))
    assert [e["pointer"] for e in assert_problem(answer, 422, "invalid-parameters")["errors"]] == [pointer]


def test_a_full_queue_is_full_for_all_tenants(sqlite_settings: Settings) -> None:
    with _opened(sqlite_settings.model_copy(update={"auth": "on", "queue_limit": 2})) as secured:
        ours, theirs = secured.key(*_ALL), secured.key(*_ALL, tenant="acme")
        for headers in (ours, theirs):
            assert secured.client.post("/v1/jobs", json=DEFAULT_JOB, headers=headers).status_code == 201
        for headers in (ours, theirs):
            refused = secured.client.post("/v1/jobs", json=DEFAULT_JOB, headers=headers)
            assert_problem(refused, 503, "queue-full")
            assert int(refused.headers["Retry-After"]) > 0
        secured.fake_worker.claim()
        assert secured.client.post("/v1/jobs", json=DEFAULT_JOB, headers=ours).status_code == 201


def test_quotas_are_set_shown_and_enforced(secured: SecuredService) -> None:
    admin, theirs = secured.key(Scope.ADMIN), secured.key(*_ALL, tenant="acme")
    set_to = secured.client.patch("/v1/tenants/acme", json={"max_queued": 1}, headers=admin)
    assert set_to.json()["quotas"]["max_queued"] == 1
    first = secured.client.post("/v1/jobs", json=DEFAULT_JOB, headers=theirs)
    refused = secured.client.post("/v1/jobs", json=DEFAULT_JOB, headers=theirs)
    assert_problem(refused, 429, "quota-exceeded")
    assert int(refused.headers["Retry-After"]) > 0
    (row,) = [row for row in secured.client.get("/v1/tenants", headers=admin).json()["data"] if row["id"] == "acme"]
    assert row["usage"]["queued"] == 1
    secured.client.post(f"/v1/jobs/{first.json()['id']}/cancel", headers=theirs)
    assert secured.client.post("/v1/jobs", json=DEFAULT_JOB, headers=theirs).status_code == 201
    secured.client.patch("/v1/tenants/acme", json={"max_queued": None, "device_hours": 0}, headers=admin)
    assert_problem(secured.client.post("/v1/jobs", json=DEFAULT_JOB, headers=theirs), 403, "quota-exceeded")
    assert_problem(secured.client.patch("/v1/tenants/nobody", json={}, headers=admin), 404, "tenant-not-found")


def test_a_retry_counts_for_the_quota(secured: SecuredService) -> None:
    admin, theirs = secured.key(Scope.ADMIN), secured.key(*_ALL, tenant="acme")
    job_id = secured.client.post("/v1/jobs", json=DEFAULT_JOB, headers=theirs).json()["id"]
    secured.client.post(f"/v1/jobs/{job_id}/cancel", headers=theirs)
    secured.client.patch("/v1/tenants/acme", json={"max_queued": 0}, headers=admin)
    assert_problem(secured.client.post(f"/v1/jobs/{job_id}/retry", headers=theirs), 429, "quota-exceeded")
    assert secured.fake_worker.artifacts.folders() == [], "a refused retry leaves no files"


def test_a_held_job_has_the_reason_in_its_status(secured: SecuredService) -> None:
    admin, theirs = secured.key(Scope.ADMIN), secured.key(*_ALL, tenant="acme")
    secured.fake_worker.worker()
    ids = [secured.client.post("/v1/jobs", json=DEFAULT_JOB, headers=theirs).json()["id"] for _ in range(2)]
    secured.client.patch("/v1/tenants/acme", json={"max_running": 1}, headers=admin)
    assert secured.fake_worker.claim() == ids[0]
    waiting = secured.client.get(f"/v1/jobs/{ids[1]}", headers=theirs).json()
    assert waiting["status"] == "queued" and waiting["status_reason"]["code"] == "quota_running"
    secured.fake_worker.finish(ids[0], Status.SUCCEEDED)
    assert secured.client.get(f"/v1/jobs/{ids[1]}", headers=theirs).json()["status_reason"] is None


def test_too_many_requests_get_429_with_retry_after(sqlite_settings: Settings) -> None:
    # Limits per hour: on a slow machine a minute may pass between two requests.
    settings = sqlite_settings.model_copy(update={"auth": "on", "key_rate": "3/hour", "tenant_rate": "5/hour"})
    with TestClient(create_app(settings)) as client:
        secured = SecuredService(client, (fake_worker := FakeWorker(settings, client)).db, fake_worker)
        first, second = secured.key(*_ALL), secured.key(*_ALL)
        assert [client.get("/v1/jobs", headers=first).status_code for _ in range(4)] == [200, 200, 200, 429]
        refused = client.get("/v1/jobs", headers=first)
        assert_problem(refused, 429, "rate-limited")
        assert 0 < int(refused.headers["Retry-After"]) <= 3600
        assert refused.headers["RateLimit-Policy"] == '"key";q=3;w=3600' and "r=0" in refused.headers["RateLimit"]
        codes = [client.get("/v1/jobs", headers=second).status_code for _ in range(3)]
        assert codes[-1] == 429, "both keys count for the limit of the tenant"
        other = secured.key(*_ALL, tenant="other")
        assert client.get("/v1/jobs", headers=other).status_code == 200
        assert client.get("/healthz").status_code == 200
        fake_worker.db.dispose()


def test_no_key_is_required_on_loopback(client: TestClient) -> None:
    assert client.get("/v1/keys").status_code == 200
    assert client.get("/v1/jobs", headers={"Authorization": "Bearer nonsense"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "auth_", "asks"),
    [("127.0.0.1", "auto", False), ("127.0.0.1", "on", True), ("0.0.0.0", "auto", True), ("::1", "off", False)],
)
def test_keys_are_required_outside_of_loopback(host: str, auth_: Any, asks: bool) -> None:
    assert Settings(host=host, auth=auth_).asks_for_keys is asks


def test_a_service_open_to_all_is_refused() -> None:
    with pytest.raises(ValueError, match="lets everyone use it"):
        Settings(host="0.0.0.0", auth="off")
