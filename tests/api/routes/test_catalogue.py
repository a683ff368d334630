"""Data sets, presets, the schema, workers, health, metrics and the documentation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from api.app import create_app
from gan.spec import BUILTIN_DATASETS, PRESETS, resolve
from jobs import clock
from jobs.models import Worker
from jobs.runtime.settings import Settings
from jobs.store import workers
from tests.api.conftest import FakeWorker, assert_problem
from tests.conftest import small_settings


def test_datasets_are_listed_with_their_classes(client: TestClient) -> None:
    body = client.get("/v1/datasets").json()
    assert {row["name"] for row in body["data"]} == set(BUILTIN_DATASETS) and not body["has_more"]
    mini = client.get("/v1/datasets/fashion-mnist-mini").json()
    assert mini["classes"][7] == {"id": 7, "label": "Sneaker", "count": 500}
    assert mini["num_images"] == 5000 and mini["status"] == "ready" and mini["id"].startswith("ds_")
    assert client.get(f"/v1/datasets/{mini['id']}").json() == mini
    assert_problem(client.get("/v1/datasets/nope"), 404, "dataset-not-found")


def test_presets_are_listed_with_their_papers_and_full_specs(client: TestClient) -> None:
    body = client.get("/v1/presets").json()
    assert [row["name"] for row in body["data"]] == list(PRESETS) and body["data"][0]["is_default"]
    for row in body["data"]:
        assert row["paper"] and row["summary"] and resolve(row["spec"]).model_dump(mode="json") == row["spec"]
        assert client.get(f"/v1/presets/{row['name']}").json() == row
    missing = assert_problem(client.get("/v1/presets/nope"), 404, "preset-not-found")
    assert missing["valid_presets"] == list(PRESETS) and all(name in missing["detail"] for name in PRESETS)


def test_presets_page_like_every_list(client: TestClient) -> None:
    names, cursor = [], None
    while True:
        body = client.get("/v1/presets", params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        names += [row["name"] for row in body["data"]]
        cursor = body["next_cursor"]
        if not body["has_more"]:
            break
    assert names == list(PRESETS)
    assert_problem(client.get("/v1/presets?cursor=Ing"), 422, "bad-cursor")


def test_the_schema_describes_every_field(client: TestClient) -> None:
    answer = client.get("/v1/schemas/job")
    assert answer.headers["content-type"] == "application/schema+json"
    schema = answer.json()
    assert schema["required"] == ["dataset"] and schema["additionalProperties"] is False
    for part in [schema, *schema["$defs"].values()]:
        for name, field in part["properties"].items():
            # A field that is an object may have its description in the definition of the object.
            defined = schema["$defs"].get(field.get("$ref", "").removeprefix("#/$defs/"), {})
            assert field.get("description") or defined.get("description"), name


def test_the_spec_of_a_preset_can_be_submitted(client: TestClient) -> None:
    spec = client.get("/v1/presets/dcgan").json()["spec"]
    assert client.post("/v1/jobs", json=spec).json()["spec"] == spec


def test_workers_without_a_heartbeat_are_lost(
    client: TestClient, fake_worker: FakeWorker, sqlite_settings: Settings
) -> None:
    with fake_worker.db.write() as s:
        workers.register(s, "w1", "host", [{"index": 0, "name": "cpu (2 cores)", "memory_bytes": 1}])
    (row,) = client.get("/v1/workers").json()["data"]
    assert row["id"] == "w1" and row["status"] == "idle" and row["current_job_id"] is None
    with fake_worker.db.write() as s:
        s.execute(update(Worker).values(heartbeat_at=clock.now() - sqlite_settings.lease_seconds - 1))
    (row,) = client.get("/v1/workers").json()["data"]
    assert row["status"] == "lost"


def test_alive_and_ready(client: TestClient, fake_worker: FakeWorker) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    worker_id = fake_worker.worker()
    body = client.get("/readyz").json()
    assert body["status"] == "ready" and all(part["ok"] for part in body["parts"].values())
    assert set(body["parts"]) == {"database", "migrations", "broker", "workers"}
    fake_worker.submit()
    for leave in (lambda s: workers.request_drain(s, worker_id), lambda s: workers.remove(s, worker_id)):
        with fake_worker.db.write() as s:
            leave(s)
        body = client.get("/readyz").json()
        assert body["status"] == "degraded" and "stay queued" in body["parts"]["workers"]["detail"]
        assert [name for name, part in body["parts"].items() if not part["ok"]] == ["workers"]
        (job,) = client.get("/v1/jobs").json()["data"]
        assert job["status_reason"]["code"] == "no_worker"


def test_pending_migrations_are_named(tmp_path: Path) -> None:
    settings = small_settings(tmp_path)
    settings.data_dir.mkdir(parents=True)
    with TestClient(create_app(settings)) as client:
        body = assert_problem(client.get("/readyz"), 503, "not-ready")
    assert body["parts"]["database"]["ok"] and body["parts"]["broker"]["ok"]
    assert not body["parts"]["migrations"]["ok"] and "gantry migrate" in body["detail"]


def test_a_database_that_is_down_is_named_and_nothing_is_submitted(tmp_path: Path) -> None:
    settings = small_settings(tmp_path, database_url=f"sqlite:///{tmp_path}/nowhere/gantry.db")
    with TestClient(create_app(settings)) as client:
        body = assert_problem(client.get("/readyz"), 503, "not-ready")
        assert not body["parts"]["database"]["ok"] and body["parts"]["broker"]["ok"]
        answer = client.post("/v1/jobs", json={"dataset": "fashion-mnist-mini"})
        assert_problem(answer, 503, "database-unavailable")
        assert answer.headers["Retry-After"]
        assert "gantry_database_up 0.0" in client.get("/metrics").text
        assert client.get("/healthz").status_code == 200


def test_a_broker_that_is_down_is_named_and_submitting_still_works(sqlite_settings: Settings) -> None:
    settings = sqlite_settings.model_copy(update={"broker_url": "redis://127.0.0.1:1/0"})
    with TestClient(create_app(settings)) as client:
        body = assert_problem(client.get("/readyz"), 503, "not-ready")
        assert not body["parts"]["broker"]["ok"] and body["parts"]["database"]["ok"]
        taken = []
        for _ in range(3):
            started = time.perf_counter()
            assert client.post("/v1/jobs", json={"dataset": "fashion-mnist-mini"}).status_code == 201
            taken.append(time.perf_counter() - started)
        # A submit that waits for the broker takes 5 s. The minimum of three ignores pauses of a busy machine.
        assert min(taken) < 4.0, "a submit must not wait for the broker"


def test_metrics_count_jobs_and_requests(sqlite_settings: Settings) -> None:
    # An application of its own, which has counted nothing yet.
    with TestClient(create_app(sqlite_settings)) as client:
        fake_worker = FakeWorker(sqlite_settings, client)
        fake_worker.train()
        fake_worker.submit()
        text = client.get("/metrics").text
        client.get("/v1/jobs/job_0"), client.get("/nowhere"), client.head("/healthz")
        again = client.get("/metrics").text
        fake_worker.db.dispose()
    assert 'gantry_jobs{status="queued"} 1.0' in text and 'gantry_jobs{status="running"} 1.0' in text
    assert 'http_requests_total{handler="/v1/jobs",method="POST",status="2xx"} 2.0' in text
    assert 'http_requests_total{handler="/v1/jobs/{job_id}",method="GET",status="4xx"} 1.0' in again
    assert 'http_requests_total{handler="none",method="GET",status="4xx"} 1.0' in again
    assert 'http_request_duration_seconds_count{handler="/healthz",method="GET"} 1.0' in again
    assert 'handler="/metrics"' not in again


def test_openapi_documents_the_body_and_every_problem(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/TrainSpecInput"}
    assert schemas["TrainSpecInput"]["required"] == ["dataset"]
    for path, methods in document["paths"].items():
        for method, about in methods.items():
            assert "application/problem+json" in about["responses"]["default"]["content"], (method, path)
    refs = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert refs <= schemas.keys()


def test_the_docs_fetch_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs").text
    assert not re.findall(r'(?:src|href)="https?://', page)
    for address in re.findall(r'(?:src|href)="(/[^"]+)"', page):
        assert client.get(address).status_code == 200


@pytest.mark.parametrize(
    "module",
    ["api.app", "gantry.cli.app", "gantry.local.up", "gantry.local.demo", "gantry.local.doctor", "api.__main__"],
)
def test_the_api_and_the_client_load_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
