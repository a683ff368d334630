"""Compressed responses: what is compressed, and what is sent as it is."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from jobs.status import Status
from tests.api.conftest import FakeWorker

GZIP, PLAIN = {"Accept-Encoding": "gzip, br"}, {"Accept-Encoding": "identity"}


def test_json_above_a_size_is_compressed_for_clients_that_ask(client: TestClient, fake_worker: FakeWorker) -> None:
    fake_worker.submit()
    small, large = "/healthz", "/v1/jobs"
    compressed, plain = client.get(large, headers=GZIP), client.get(large, headers=PLAIN)
    assert compressed.headers["Content-Encoding"] == "gzip" and "Content-Encoding" not in plain.headers
    assert int(compressed.headers["Content-Length"]) < int(plain.headers["Content-Length"]) / 2
    assert compressed.json()["data"][0]["id"] == plain.json()["data"][0]["id"]
    assert "Accept-Encoding" in compressed.headers["Vary"] and "Accept-Encoding" in plain.headers["Vary"]
    assert "Content-Encoding" not in client.get(small, headers=GZIP).headers


def test_both_forms_have_their_own_strong_etag_and_either_is_a_304(
    client: TestClient, fake_worker: FakeWorker
) -> None:
    path = f"/v1/jobs/{fake_worker.train()}"
    etags = [client.get(path, headers=accepted).headers["ETag"] for accepted in (GZIP, PLAIN)]
    assert len(set(etags)) == 2 and all(etag.startswith('"') for etag in etags)
    for etag in etags:
        for accepted in (GZIP, PLAIN):
            answer = client.get(path, headers={**accepted, "If-None-Match": etag})
            # A cache finds its copy by this ETag (RFC 9111, section 4.3.4).
            assert answer.status_code == 304 and answer.headers["ETag"] == etag


@pytest.mark.parametrize("place", ["events", "previews/0.png", "part"])
def test_streams_and_files_are_sent_as_they_are(client: TestClient, fake_worker: FakeWorker, place: str) -> None:
    job_id = fake_worker.train()
    fake_worker.preview(job_id, 0, 3)
    row = fake_worker.checkpoint(job_id, 5, b"weights" * 1000)
    fake_worker.finish(job_id, Status.SUCCEEDED)
    path = f"/v1/checkpoints/{row.id}/content" if place == "part" else f"/v1/jobs/{job_id}/{place}"
    answer = client.get(path, headers={**GZIP, "Accept": "text/event-stream" if place == "events" else "*/*"})
    assert "Content-Encoding" not in answer.headers
