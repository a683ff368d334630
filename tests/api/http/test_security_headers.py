"""Security headers of every response, CORS, and the pages at /docs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from jobs.runtime.settings import Settings
from tests.api.conftest import FakeWorker, assert_problem

PAGE = "https://pages.example.org"


@contextmanager
def service(settings: Settings, base_url: str = "http://testserver", **changes: object) -> Iterator[TestClient]:
    app = create_app(settings.model_copy(update=changes))
    with TestClient(app, base_url=base_url, raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize(
    "path", ["/v1/jobs", "/v1/jobs/job_0", "/nowhere", "/v1/jobs?x=1", "/healthz", "/openapi.json"]
)
def test_every_response_has_security_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer" and headers["Cache-Control"] == "no-store"
    assert "Strict-Transport-Security" not in headers and "Server" not in headers


def test_an_unexpected_error_has_security_headers(sqlite_settings: Settings) -> None:
    app = create_app(sqlite_settings)

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("a secret")

    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/broken")
    assert_problem(answer, 500, "internal")
    assert answer.headers["X-Content-Type-Options"] == "nosniff" and "secret" not in answer.text
    assert answer.headers["Cache-Control"] == "no-store"


def test_own_cache_headers_are_kept(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    row = fake_worker.checkpoint(job_id, 10)
    answer = client.get(f"/v1/checkpoints/{row.id}/content")
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_files_are_sent_as_attachments(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    fake_worker.curve(job_id, np.zeros((3, 1)), "loss_d")
    for media, disposition in (("text/csv", "attachment"), ("application/json", None), ("image/png", None)):
        answer = client.get(f"/v1/jobs/{job_id}/metrics/series", headers={"Accept": media})
        assert answer.status_code == 200 and answer.headers.get("Content-Disposition") == disposition


def test_tls_responses_have_strict_transport_security(sqlite_settings: Settings) -> None:
    with service(sqlite_settings, "https://testserver") as client:
        assert client.get("/healthz").headers["Strict-Transport-Security"] == "max-age=31536000"


def test_the_documentation_loads_only_own_files(client: TestClient) -> None:
    policy = client.get("/docs").headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "unsafe-eval" not in policy
    assert "http" not in policy


def test_the_pages_can_be_switched_off(sqlite_settings: Settings) -> None:
    with service(sqlite_settings, docs=False) as client:
        for page in ("/docs", "/redoc"):
            assert_problem(client.get(page), 404, "not-found")
        assert client.get("/openapi.json").status_code == 200
        assert client.get("/", follow_redirects=False).headers["Location"] == "/ui"


def test_no_other_origin_may_read_the_api_unless_it_is_named(client: TestClient) -> None:
    answer = client.get("/v1/jobs", headers={"Origin": PAGE})
    assert [name for name in answer.headers if name.startswith("access-control")] == []
    preflight = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    assert_problem(client.options("/v1/jobs", headers=preflight), 405, "method-not-allowed")


def test_only_configured_origins_may_read_the_api(sqlite_settings: Settings) -> None:
    with service(sqlite_settings, cors_origins=f"{PAGE}, https://b.example.org") as client:
        preflight = {
            "Origin": PAGE,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, idempotency-key",
        }
        allowed = client.options("/v1/jobs", headers=preflight)
        assert allowed.status_code == 200 and allowed.headers["Access-Control-Allow-Origin"] == PAGE
        refused = client.options("/v1/jobs", headers={**preflight, "Origin": "https://evil.example.org"})
        assert refused.status_code == 400 and "Access-Control-Allow-Origin" not in refused.headers
        assert refused.headers["content-type"] == "application/problem+json"
        for path in ("/v1/jobs", "/v1/jobs/job_0", "/v1/jobs?x=1"):
            headers = client.get(path, headers={"Origin": PAGE}).headers
            assert headers["Access-Control-Allow-Origin"] == PAGE, path
            assert "ETag" in headers["Access-Control-Expose-Headers"]
            assert "Access-Control-Allow-Credentials" not in headers
        large = client.post("/v1/jobs", content=b" " * 300_000, headers={"Origin": PAGE})
        assert large.status_code == 413 and large.headers["Access-Control-Allow-Origin"] == PAGE
        assert "Access-Control-Allow-Origin" not in client.get("/v1/jobs", headers={"Origin": "null"}).headers


def test_any_origin_never_comes_with_credentials(sqlite_settings: Settings) -> None:
    with service(sqlite_settings, cors_origins="*") as client:
        headers = client.get("/v1/jobs", headers={"Origin": PAGE, "Cookie": "a=b"}).headers
        assert headers["Access-Control-Allow-Origin"] == "*" and "Access-Control-Allow-Credentials" not in headers
