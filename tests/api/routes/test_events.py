"""Events of a job, as pages and as a stream of an ended job."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from jobs.status import Status
from jobs.store import events
from tests.api.conftest import FakeWorker, assert_problem

STREAM = {"Accept": "text/event-stream"}


def _blocks(text: str) -> list[dict[str, str]]:
    """Return the blocks of a stream as fields by name; each has data, and the first the time to reconnect."""
    blocks = [dict(line.split(": ", 1) for line in block.split("\n")) for block in text.split("\n\n") if block]
    assert blocks[0].pop("retry") == "1000" and all(block.get("data") for block in blocks), blocks
    return blocks


def write_events(fake_worker: FakeWorker, job_id: str, n: int) -> None:
    """Write `n` events in one transaction."""
    with fake_worker.db.write() as s:
        for i in range(n):
            events.record(s, job_id, "job.progress", {"step": i, "note": "a\u2028b"}, attempt=1)


def _ended(fake_worker: FakeWorker) -> str:
    job_id = fake_worker.train()
    fake_worker.progress(job_id, 5)
    fake_worker.checkpoint(job_id, 5)
    fake_worker.finish(job_id, Status.SUCCEEDED)
    return job_id


def test_events_are_numbered_and_paged(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    fake_worker.progress(job_id, 5)
    path = f"/v1/jobs/{job_id}/events"
    body = client.get(path).json()
    assert [event["seq"] for event in body["data"]] == [1, 2, 3]
    assert [event["type"] for event in body["data"]] == ["job.status", "job.status", "job.progress"]
    first = client.get(f"{path}?limit=2").json()
    rest = client.get(path, params={"after": first["next_cursor"]}).json()
    assert first["has_more"] and [event["seq"] for event in rest["data"]] == [3] and not rest["has_more"]


def test_a_stream_has_the_events_of_the_page_and_ends(client: TestClient, fake_worker: FakeWorker) -> None:
    path = f"/v1/jobs/{_ended(fake_worker)}/events"
    page, answer = client.get(path).json()["data"], client.get(path, headers=STREAM)
    *blocks, end = _blocks(answer.text)
    assert [json.loads(block["data"]) for block in blocks] == page and len(page) == 5
    assert [(block["id"], block["event"]) for block in blocks] == [(str(e["seq"]), e["type"]) for e in page]
    assert end.keys() == {"event", "data"} and end["event"] == "stream.end"
    assert json.loads(end["data"]) == {"status": "succeeded", "last_seq": 5}


def test_a_stream_is_neither_cached_nor_buffered(client: TestClient, fake_worker: FakeWorker) -> None:
    answer = client.get(f"/v1/jobs/{_ended(fake_worker)}/events", headers=STREAM)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["Cache-Control"] == "no-store" and answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["Vary"] == "Accept"


@pytest.mark.parametrize(
    ("query", "last", "first"),
    [
        ("", "2", 3),
        ("?after=2", None, 3),
        ("?after=4", "1", 2),
        ("?after=1", "0", 1),
        ("", "4", 5),
    ],
)
def test_a_stream_starts_after_the_last_event_of_the_caller(
    client: TestClient, fake_worker: FakeWorker, query: str, last: str | None, first: int
) -> None:
    headers = STREAM if last is None else {**STREAM, "Last-Event-ID": last}
    answer = client.get(f"/v1/jobs/{_ended(fake_worker)}/events{query}", headers=headers)
    *blocks, end = _blocks(answer.text)
    assert [block["id"] for block in blocks] == [str(seq) for seq in range(first, 6)]
    assert end["event"] == "stream.end"


@pytest.mark.parametrize(("query", "last"), [("", "5"), ("", "99"), ("?after=5", None)])
def test_a_stream_that_has_nothing_to_say_any_more_is_204(
    client: TestClient, fake_worker: FakeWorker, query: str, last: str | None
) -> None:
    path, headers = f"/v1/jobs/{_ended(fake_worker)}/events{query}", {"Last-Event-ID": last} if last else {}
    answer = client.get(path, headers={**STREAM, **headers})
    assert answer.status_code == 204 and answer.content == b"" and answer.headers["Vary"] == "Accept"
    assert client.get(path).status_code == 200, "a page of no events is still a page"


def test_a_long_history_is_streamed_completely(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    write_events(fake_worker, job_id, 500)
    fake_worker.finish(job_id, Status.FAILED, {"code": "internal", "message": "x", "retryable": True})
    *blocks, end = _blocks(client.get(f"/v1/jobs/{job_id}/events", headers=STREAM).text)
    assert [int(block["id"]) for block in blocks] == list(range(1, 504))
    assert json.loads(end["data"]) == {"status": "failed", "last_seq": 503}


@pytest.mark.parametrize("seq", ["-1", "x", "", "1.5", str(2**53 + 1), "9" * 5000])
@pytest.mark.parametrize("where", ["Last-Event-ID", "after"])
def test_an_invalid_event_number_is_422(client: TestClient, fake_worker: FakeWorker, where: str, seq: str) -> None:
    path, named = f"/v1/jobs/{fake_worker.submit()}/events", where == "after"
    sent: dict[str, Any] = {"params": {"after": seq}} if named else {}
    answer = client.get(path, headers=STREAM if named else {**STREAM, where: seq}, **sent)
    error = assert_problem(answer, 422, "invalid-parameters")["errors"][0]
    assert error["pointer"] == f"/{where.lower()}" and where.lower() in error["detail"]


@pytest.mark.parametrize("job_id", ["job_01JD2M9Z8V3H4W5X6Y7Z8A9B0C", "nope"])
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_an_unknown_job_has_no_events(client: TestClient, job_id: str, accept: str) -> None:
    answer = client.get(f"/v1/jobs/{job_id}/events", headers={"Accept": accept})
    assert_problem(answer, 404, "job-not-found")


def test_a_job_that_was_deleted_has_no_events(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = _ended(fake_worker)
    assert client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert_problem(client.get(f"/v1/jobs/{job_id}/events", headers=STREAM), 404, "job-not-found")


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("text/event-stream", "text/event-stream"),
        ("text/event-stream, */*;q=0.1", "text/event-stream"),
        ("text/*", "text/event-stream"),
        ("*/*", "application/json"),
        ("application/json, text/event-stream", "application/json"),
    ],
)
def test_accept_decides_between_page_and_stream(
    client: TestClient, fake_worker: FakeWorker, accept: str, media: str
) -> None:
    answer = client.get(f"/v1/jobs/{_ended(fake_worker)}/events", headers={"Accept": accept})
    assert answer.headers["content-type"].split(";")[0] == media and answer.headers["Vary"] == "Accept"


def test_another_type_than_page_or_stream_is_406(client: TestClient, fake_worker: FakeWorker) -> None:
    answer = client.get(f"/v1/jobs/{fake_worker.submit()}/events", headers={"Accept": "text/csv"})
    body = assert_problem(answer, 406, "not-acceptable")
    assert body["valid_types"] == ["application/json", "text/event-stream"] and answer.headers["Vary"] == "Accept"


def test_the_document_describes_the_stream(client: TestClient) -> None:
    about = client.get("/openapi.json").json()["paths"]["/v1/jobs/{job_id}/events"]["get"]
    content = about["responses"]["200"]["content"]
    assert content["text/event-stream"]["schema"] == {"type": "string"} and "application/json" in content
    assert "last-event-id" in {p["name"] for p in about["parameters"] if p["in"] == "header"}


def test_a_stream_without_a_database_is_503(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.submit()
    with fake_worker.db.write() as s:
        s.connection().exec_driver_sql("alter table job_events rename to job_events_away")
    answer = client.get(f"/v1/jobs/{job_id}/events", headers=STREAM)
    assert answer.status_code == 503 and answer.headers["content-type"] == "application/problem+json"
