"""Checkpoints: list, save and download."""

from __future__ import annotations

import hashlib

import pytest
from fastapi.testclient import TestClient

from jobs.models import Job
from tests.api.conftest import FakeWorker, assert_problem
from tests.jobs.helpers import disk_path


def test_the_list_is_newest_first_and_marks_the_last(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    rows = [fake_worker.checkpoint(job_id, step) for step in (10, 20, 30)]
    body = client.get(f"/v1/jobs/{job_id}/checkpoints?limit=2").json()
    assert [c["step"] for c in body["data"]] == [30, 20] and body["has_more"]
    assert [c["is_last"] for c in body["data"]] == [True, False]
    assert body["data"][0]["id"] == rows[2].id and body["data"][0]["bytes"] == len(b"full weights")
    rest = client.get(f"/v1/jobs/{job_id}/checkpoints", params={"cursor": body["next_cursor"]}).json()
    assert [c["step"] for c in rest["data"]] == [10]
    assert client.get(f"/v1/jobs/{job_id}").json()["last_checkpoint_id"] == rows[2].id


def test_a_checkpoint_is_requested_of_a_running_job(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    answer = client.post(f"/v1/jobs/{job_id}/checkpoints")
    assert answer.status_code == 202 and answer.headers["Location"] == f"/v1/jobs/{job_id}/checkpoints"
    with fake_worker.db.read() as s:
        assert s.get_one(Job, job_id).checkpoint_requested_at is not None
    assert_problem(client.post(f"/v1/jobs/{fake_worker.submit()}/checkpoints"), 409, "invalid-transition")


@pytest.mark.parametrize(
    ("query", "content", "suffix"), [("", b"weights", "safetensors"), ("?part=full", b"full weights", "pt")]
)
def test_a_part_is_downloaded_with_its_digest(
    client: TestClient, fake_worker: FakeWorker, query: str, content: bytes, suffix: str
) -> None:
    checkpoint = fake_worker.checkpoint(fake_worker.train(), 10)
    answer = client.get(f"/v1/checkpoints/{checkpoint.id}/content{query}")
    assert answer.content == content
    assert answer.headers["ETag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    assert answer.headers["Content-Disposition"].endswith(f'.{suffix}"')
    again = client.get(
        f"/v1/checkpoints/{checkpoint.id}/content{query}", headers={"If-None-Match": answer.headers["ETag"]}
    )
    assert again.status_code == 304


def test_ranges_are_honoured(client: TestClient, fake_worker: FakeWorker) -> None:
    path = f"/v1/checkpoints/{fake_worker.checkpoint(fake_worker.train(), 10).id}/content"
    part = client.get(path, headers={"Range": "bytes=2-4"})
    assert part.status_code == 206 and part.content == b"igh" and part.headers["Content-Range"] == "bytes 2-4/7"
    whole = client.get(path, headers={"Range": "bytes=2-4", "If-Range": '"other"'})
    assert whole.status_code == 200 and whole.content == b"weights"
    beyond = client.get(path, headers={"Range": "bytes=70-"})
    assert_problem(beyond, 416, "range-not-satisfiable")
    assert beyond.headers["Content-Range"] == "bytes */7"
    assert client.head(path).headers["Content-Length"] == "7"


@pytest.mark.parametrize(
    "header",
    ["items=0-9", "bytes", "bytes=", "bytes=,", "bytes=-", "bytes=a-b", "bytes=9-0", "bytes=0-1,9-0", "bytes=0-1,x"],
)
def test_an_invalid_range_is_ignored(client: TestClient, fake_worker: FakeWorker, header: str) -> None:
    job_id = fake_worker.train()
    drawn = fake_worker.preview(job_id, 0, 3)
    addresses = {
        f"/v1/checkpoints/{fake_worker.checkpoint(job_id, 10).id}/content": b"weights",
        f"/v1/jobs/{job_id}/previews/0.png": drawn,
    }
    for path, content in addresses.items():
        answer = client.get(path, headers={"Range": header})
        assert answer.status_code == 200 and answer.content == content, answer.text


@pytest.mark.parametrize(
    ("header", "content"),
    [("Bytes=0-0", b"w"), ("bytes= -2, ", b"ts"), ("bytes=5-999", b"ts"), ("bytes=3-", b"ghts")],
)
def test_every_way_to_write_a_range(client: TestClient, fake_worker: FakeWorker, header: str, content: bytes) -> None:
    path = f"/v1/checkpoints/{fake_worker.checkpoint(fake_worker.train(), 10).id}/content"
    answer = client.get(path, headers={"Range": header})
    assert answer.status_code == 206 and answer.content == content


@pytest.mark.parametrize("header", ["bytes=70-", "bytes=70-71", "bytes=-0", f"bytes={'9' * 40}-"])
def test_a_range_beyond_the_end_is_416(client: TestClient, fake_worker: FakeWorker, header: str) -> None:
    path = f"/v1/checkpoints/{fake_worker.checkpoint(fake_worker.train(), 10).id}/content"
    assert_problem(client.get(path, headers={"Range": header}), 416, "range-not-satisfiable")


@pytest.mark.parametrize(
    "query", ["part=all", "format=pickle", "part=full&format=onnx", "part=generator&format=pt", "parts=full"]
)
def test_an_unknown_part_or_format_is_422(client: TestClient, fake_worker: FakeWorker, query: str) -> None:
    checkpoint = fake_worker.checkpoint(fake_worker.train(), 10)
    assert_problem(client.get(f"/v1/checkpoints/{checkpoint.id}/content?{query}"), 422, "invalid-parameters")


@pytest.mark.parametrize("checkpoint_id", ["ckpt_01JD2M9Z8V3H4W5X6Y7Z8A9B0C", "x", "..%2F..%2Fetc%2Fpasswd"])
def test_an_unknown_checkpoint_is_404(client: TestClient, checkpoint_id: str) -> None:
    assert client.get(f"/v1/checkpoints/{checkpoint_id}/content").status_code == 404


def test_a_damaged_file_is_never_sent(client: TestClient, fake_worker: FakeWorker) -> None:
    checkpoint = fake_worker.checkpoint(fake_worker.train(), 10)
    disk_path(fake_worker.artifacts, checkpoint.weights_key).write_bytes(b"heavier")
    assert_problem(client.get(f"/v1/checkpoints/{checkpoint.id}/content"), 500, "artifact-lost")


def test_onnx_needs_the_sampler(client: TestClient, fake_worker: FakeWorker) -> None:
    checkpoint = fake_worker.checkpoint(fake_worker.train(), 10)
    answer = client.get(f"/v1/checkpoints/{checkpoint.id}/content?format=onnx")
    assert_problem(answer, 503, "sampler-unavailable")
