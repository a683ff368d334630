"""The OpenAPI document describes all responses of all routes, for generated clients."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.http.problems import MEDIA_TYPE
from jobs.status import Status
from tests.api.conftest import DEFAULT_JOB, FakeWorker
from tests.gan.uploads.zips import files, zipped

Json = dict[str, Any]
ROOT = Path(__file__).parents[3]


@pytest.fixture
def document(client: TestClient) -> Json:
    read: Json = client.get("/openapi.json").json()
    return read


def _operations(document: Json) -> list[tuple[str, str, Json]]:
    return [(path, method, about) for path, methods in document["paths"].items() for method, about in methods.items()]


def test_every_route_documents_the_common_responses(document: Json) -> None:
    ours = [found for found in _operations(document) if found[0].startswith("/v1")]
    assert len(ours) > 15
    for path, method, about in ours:
        negotiates = len(about["responses"].get("200", {}).get("content", ())) > 1
        wanted = {"422", *(["404"] if "{" in path else []), *(["406"] if negotiates else [])}
        assert wanted <= about["responses"].keys(), (method, path)
        if method != "get":
            assert {"400", "413", "415"} <= about["responses"].keys(), (method, path)


def test_the_committed_document_is_the_interface(document: Json) -> None:
    committed = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))
    assert committed == document, "the interface has changed: look at how, and then `make openapi`"


def test_every_error_is_a_problem_and_every_response_has_its_id(document: Json) -> None:
    for path, method, about in _operations(document):
        for status, answer in about["responses"].items():
            assert "X-Request-Id" in answer["headers"], (method, path, status)
            if status == "default" or int(status) >= 400:
                (content,) = answer["content"].items()
                assert content[0] == MEDIA_TYPE, (method, path, status)
                assert content[1]["schema"] == {"$ref": "#/components/schemas/Problem"}, (method, path, status)
        assert "Retry-After" in about["responses"].get("503", {"headers": "Retry-After"})["headers"]
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_headers_that_are_named_are_described(document: Json) -> None:
    named = {
        name
        for _, _, about in _operations(document)
        for answer in about["responses"].values()
        for name in answer["headers"]
    }
    assert named == document["components"]["headers"].keys()


def test_a_download_documents_conditions_and_ranges(document: Json) -> None:
    for path in ("/v1/checkpoints/{checkpoint_id}/content", "/v1/jobs/{job_id}/previews/{step}.png"):
        about = document["paths"][path]["get"]
        assert {"200", "206", "304", "404", "416", "422", "503"} <= about["responses"].keys()
        assert _reads(about, "range") and _reads(about, "if-range")
        assert "Content-Range" in about["responses"]["206"]["headers"]


def test_every_creating_post_takes_a_key(document: Json) -> None:
    posts = [about for _, method, about in _operations(document) if method == "post"]
    # Except keys: the service would have to store the response, with the key in it, for a day.
    creating = [about for about in posts if "201" in about["responses"] and "keys" not in about["tags"]]
    assert len(creating) >= 2
    for about in creating:
        assert _reads(about, "Idempotency-Key") and "Idempotency-Replayed" in about["responses"]["201"]["headers"]
    retry = document["paths"]["/v1/jobs/{job_id}/retry"]["post"]["requestBody"]
    assert retry["content"]["application/json"]["schema"]["properties"]["from"]["enum"] == ["last", "scratch"]
    assert not retry.get("required", False)


def test_the_metrics_are_documented_as_text(document: Json) -> None:
    assert "text/plain" in document["paths"]["/metrics"]["get"]["responses"]["200"]["content"]


def test_actual_responses_are_documented(client: TestClient, fake_worker: FakeWorker, document: Json) -> None:
    job_id, other = fake_worker.train(), fake_worker.submit()
    fake_worker.preview(job_id, 0, 3)
    fake_worker.evaluate(job_id, 5, 9.0, best=True)
    part = f"/v1/checkpoints/{fake_worker.checkpoint(job_id, 5).id}/content"
    job, etag = f"/v1/jobs/{job_id}", {"If-None-Match": "*"}
    calls: list[tuple[str, str, Json]] = [
        ("POST", "/v1/jobs", {"json": DEFAULT_JOB}),
        ("POST", "/v1/jobs", {"json": {}}),
        ("POST", "/v1/jobs", {"content": b"{", "headers": {"Content-Type": "application/json"}}),
        ("POST", "/v1/jobs", {"content": b"{}"}),
        ("POST", "/v1/jobs", {"content": b" " * 300_000}),
        ("POST", "/v1/jobs?dry_run=true", {"json": DEFAULT_JOB}),
        ("GET", "/v1/jobs", {}),
        ("GET", job, {}),
        ("GET", job, {"headers": etag}),
        ("GET", "/v1/jobs/x", {}),
        ("DELETE", job, {}),
        ("POST", f"{job}/cancel", {}),
        ("POST", f"/v1/jobs/{other}/cancel", {}),
        ("GET", f"/v1/jobs/{other}/events", {"headers": {"Accept": "text/event-stream"}}),
        ("GET", f"/v1/jobs/{other}/events?after=99", {"headers": {"Accept": "text/event-stream"}}),
        ("GET", "/v1/jobs?fields=id,status", {}),
        ("GET", "/v1/jobs?fields=x", {}),
        ("POST", f"/v1/jobs/{other}/retry", {"headers": {"Idempotency-Key": "k"}}),
        ("POST", f"/v1/jobs/{other}/retry", {"headers": {"Idempotency-Key": "k"}}),
        ("POST", f"/v1/jobs/{other}/retry", {"json": {"from": "x"}}),
        ("POST", f"{job}/retry", {}),
        *(("POST", f"{job}/{action}", {}) for action in ("pause", "resume")),
        *(("POST", f"/v1/jobs/{other}/{action}", {}) for action in ("pause", "resume")),
        ("POST", "/v1/workers/x/drain", {}),
        ("POST", f"/v1/workers/{fake_worker.worker()}/drain", {}),
        ("DELETE", f"/v1/jobs/{other}", {}),
        ("GET", f"{job}/metrics", {}),
        ("GET", f"{job}/metrics/series", {}),
        ("GET", f"{job}/metrics/series", {"headers": {"Accept": "x/y"}}),
        ("GET", f"{job}/events", {}),
        ("GET", f"{job}/events", {"headers": {"Accept": "x/y"}}),
        ("GET", f"{job}/previews", {}),
        ("GET", f"{job}/evaluations", {}),
        ("GET", "/v1/jobs/x/evaluations", {}),
        ("GET", f"{job}/previews/0.png", {}),
        ("GET", f"{job}/previews/0.png", {"headers": etag}),
        ("GET", f"{job}/previews/0.png", {"headers": {"Range": "bytes=0-1"}}),
        ("GET", f"{job}/previews/9.png", {}),
        ("GET", f"{job}/previews.gif", {}),
        ("GET", f"{job}/previews.gif", {"headers": etag}),
        ("GET", f"/v1/jobs/{fake_worker.submit()}/previews.gif", {}),
        ("GET", f"{job}/checkpoints", {}),
        ("POST", f"{job}/checkpoints", {}),
        ("POST", f"/v1/jobs/{fake_worker.submit()}/checkpoints", {}),
        ("GET", part, {}),
        ("GET", part, {"headers": etag}),
        ("GET", part, {"headers": {"Range": "bytes=0-1"}}),
        ("GET", part, {"headers": {"Range": "bytes=99-"}}),
        ("GET", f"{part}?format=onnx", {}),
        ("GET", f"{part}?format=pt", {}),
        ("GET", f"{job}/classes", {}),
        ("GET", f"{job}/samples", {}),
        ("GET", f"{job}/samples", {"headers": etag}),
        ("GET", f"{job}/samples", {"headers": {"Accept": "application/json"}}),
        ("GET", f"{job}/samples", {"headers": {"Accept": "x/y"}}),
        ("GET", f"/v1/jobs/{fake_worker.submit()}/samples", {}),
        ("POST", "/v1/datasets", {"files": {"file": ("a.zip", b"no zip")}}),
        ("POST", "/v1/datasets", {"json": {}}),
        ("POST", "/v1/datasets", {"files": {"file": ("mine.zip", zipped(files(each=64)))}}),
        ("GET", "/v1/datasets/mine/contact-sheet", {}),
        ("GET", "/v1/datasets/fashion-mnist-mini/contact-sheet", {}),
        ("GET", "/v1/datasets/fashion-mnist-mini/contact-sheet?label=Socks", {}),
        ("DELETE", "/v1/datasets/fashion-mnist", {}),
        ("DELETE", "/v1/datasets/mine", {}),
        *(("GET", f"/v1/{noun}", {}) for noun in ("datasets", "presets", "workers", "schemas/job")),
        *(
            ("GET", f"/v1/{noun}", {})
            for noun in ("datasets/fashion-mnist", "datasets/x", "presets/cgan", "presets/x")
        ),
        ("POST", "/v1/webhooks", {"json": {"url": "https://93.184.216.34/"}}),
        ("POST", "/v1/webhooks", {"content": b"{"}),
        ("GET", "/v1/webhooks", {}),
        ("PATCH", "/v1/webhooks/x", {"json": {"enabled": False}}),
        *((method, "/v1/webhooks/x", {}) for method in ("GET", "DELETE")),
        ("POST", "/v1/webhooks/x/test", {}),
        ("GET", "/v1/webhooks/x/deliveries", {}),
        ("GET", "/v1/webhooks/x/deliveries/y", {}),
        ("POST", "/v1/webhooks/x/deliveries/y/redeliver", {}),
        *(("GET", path, {}) for path in ("/healthz", "/readyz", "/metrics")),
    ]
    seen = set()
    for method, path, sent in calls:
        answer = client.request(method, path, **sent)
        about = _operation(document, method, path)
        documented = about["responses"].get(str(answer.status_code))
        assert documented is not None, (method, path, answer.status_code, answer.text[:300])
        names = {name.lower() for name in documented["headers"]}
        expected = names & {name.lower() for name in document["components"]["headers"]}
        assert {n for n in answer.headers if n in _DESCRIBED} <= names, (method, path, answer.status_code)
        assert expected - {"etag", "vary", "idempotency-replayed"} <= answer.headers.keys(), (
            method,
            path,
            answer.status_code,
            dict(answer.headers),
        )
        seen.add(answer.status_code)
    assert {200, 201, 202, 204, 206, 304, 400, 404, 406, 409, 413, 415, 416, 422, 503} <= seen


def test_a_lost_file_is_documented(client: TestClient, fake_worker: FakeWorker, document: Json) -> None:
    job_id = fake_worker.train()
    fake_worker.preview(job_id, 0, 3)
    path = f"/v1/checkpoints/{fake_worker.checkpoint(job_id, 5).id}/content"
    fake_worker.finish(job_id, Status.SUCCEEDED)
    fake_worker.artifacts.delete_prefix(job_id)
    for lost in (path, f"/v1/jobs/{job_id}/previews/0.png", f"/v1/jobs/{job_id}/previews.gif"):
        assert client.get(lost).status_code == 500
        assert "500" in _operation(document, "GET", lost)["responses"]


_DESCRIBED = {
    "etag",
    "location",
    "retry-after",
    "content-range",
    "content-location",
    "x-checkpoint-id",
    "vary",
    "idempotency-replayed",
}


def _reads(about: Json, header: str) -> bool:
    return any(p["in"] == "header" and p["name"] == header for p in about.get("parameters", ()))


def _operation(document: Json, method: str, address: str) -> Json:
    path = address.split("?")[0]
    templates = [t for t in document["paths"] if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", t), path)]
    exact = [t for t in templates if "{" not in t] or templates
    operation: Json = document["paths"][exact[0]][method.lower()]
    return operation
