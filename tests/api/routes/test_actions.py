"""Pause, resume, retry and drain over HTTP."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete

from jobs import leases
from jobs.models import Dataset, Job
from jobs.status import Status
from tests.api.conftest import FakeWorker, assert_problem

ERROR: Final[dict[str, Any]] = {
    "code": "diverged",
    "message": "NaN at 50.",
    "retryable": False,
    "step": 50,
    "hint": "Lower the rate.",
}


def _ask(client: TestClient, job_id: str, action: str) -> dict[str, Any]:
    """Post the action, and return the job in its response, which equals the job that GET returns."""
    answer = client.post(f"/v1/jobs/{job_id}/{action}")
    assert answer.status_code == 200, answer.text
    read = client.get(f"/v1/jobs/{job_id}")
    assert (answer.content, answer.headers["ETag"]) == (read.content, read.headers["ETag"])
    job: dict[str, Any] = answer.json()
    return job


def _give_back(fake_worker: FakeWorker, job_id: str) -> None:
    with fake_worker.db.write() as s:
        leases.release(s, job_id, 1, crash=False, reason={"code": "stopped", "message": "As asked."})


def _failed(fake_worker: FakeWorker) -> str:
    """Return a job that failed after its checkpoint of step 40; its best checkpoint is of step 20."""
    job_id = fake_worker.train(name="clothes")
    fake_worker.curve(job_id, np.full((50, 1), 0.5), "loss_d")
    for step in (20, 40):
        fake_worker.evaluate(job_id, step, float(step), best=step == 20)
        fake_worker.checkpoint(job_id, step, best=step == 20)
    fake_worker.preview(job_id, 0, 3)
    fake_worker.progress(job_id, 50)
    fake_worker.finish(job_id, Status.FAILED, ERROR)
    return job_id


def test_a_queued_job_is_paused_at_once_and_queued_when_resumed(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id, other = fake_worker.submit(), fake_worker.submit()
    for _ in range(2):
        job = _ask(client, job_id, "pause")
        assert (job["status"], job["queue"], job["allowed_actions"]) == ("paused", None, ["cancel", "resume"])
    assert client.get(f"/v1/jobs/{other}").json()["queue"]["jobs_ahead"] == 0
    for _ in range(2):
        job = _ask(client, job_id, "resume")
        assert (job["status"], job["attempt"], job["allowed_actions"]) == ("queued", 1, ["cancel", "pause"])


def test_a_running_job_is_paused_when_its_worker_releases_it(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    for _ in range(2):
        job = _ask(client, job_id, "pause")
        assert (job["status"], job["allowed_actions"]) == ("running", ["cancel", "resume"])
    _give_back(fake_worker, job_id)
    job = client.get(f"/v1/jobs/{job_id}").json()
    assert (job["status"], job["worker"], job["attempt"]) == ("paused", None, 1)
    job = _ask(client, job_id, "resume")
    assert (job["status"], job["attempt"]) == ("queued", 2)


def test_a_requested_pause_can_be_withdrawn(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    _ask(client, job_id, "pause")
    assert _ask(client, job_id, "resume")["allowed_actions"] == ["cancel", "pause"]
    with fake_worker.db.read() as s:
        assert s.get_one(Job, job_id).pause_requested_at is None


def test_a_job_that_is_being_cancelled_is_not_paused(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    client.post(f"/v1/jobs/{job_id}/cancel")
    for action in ("pause", "resume"):
        body = assert_problem(client.post(f"/v1/jobs/{job_id}/{action}"), 409, "invalid-transition")
        assert (body["current_status"], body["allowed_actions"]) == ("running", [])


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_an_ended_job_is_neither_paused_nor_resumed(client: TestClient, fake_worker: FakeWorker, action: str) -> None:
    job_id = fake_worker.train()
    fake_worker.finish(job_id, Status.SUCCEEDED)
    body = assert_problem(client.post(f"/v1/jobs/{job_id}/{action}"), 409, "invalid-transition")
    assert (body["current_status"], body["allowed_actions"]) == ("succeeded", ["delete"])


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_pause_and_resume_take_no_fields(client: TestClient, fake_worker: FakeWorker, action: str) -> None:
    answer = client.post(f"/v1/jobs/{fake_worker.submit()}/{action}", json={"force": True})
    assert assert_problem(answer, 422, "invalid-spec")["errors"][0]["pointer"] == "/force"


@pytest.mark.parametrize("body", [None, {}, {"from": "last"}])
def test_a_retry_continues_from_the_last_checkpoint_as_a_new_job(
    client: TestClient, fake_worker: FakeWorker, body: dict[str, str] | None
) -> None:
    old = _failed(fake_worker)
    before = client.get(f"/v1/jobs/{old}").content
    sent = {} if body is None else {"json": body}
    answer = client.post(f"/v1/jobs/{old}/retry", **sent)  # type: ignore[arg-type]
    assert answer.status_code == 201, answer.text
    job = answer.json()
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}" != f"/v1/jobs/{old}"
    read = client.get(answer.headers["Location"])
    assert (read.content, read.headers["ETag"]) == (answer.content, answer.headers["ETag"])
    assert (job["status"], job["retry_of"], job["name"], job["error"]) == ("queued", old, "clothes", None)
    assert job["progress"]["step"] == 40 and job["progress"]["images_seen"] == 40 * 16
    assert job["last_checkpoint_id"] != job["best_checkpoint_id"]
    assert client.get(f"/v1/jobs/{old}").content == before, "the old job never changes"

    assert client.delete(f"/v1/jobs/{old}").status_code == 204
    series = client.get(f"{answer.headers['Location']}/metrics/series?names=loss_d,fcd").json()["series"]
    assert [step for step, _ in series["loss_d"]] == [*range(1, 41)] and series["fcd"] == [[20, 20.0], [40, 40.0]]
    listed = client.get(f"{answer.headers['Location']}/checkpoints").json()["data"]
    assert [(row["step"], row["attempt"], row["is_last"], row["is_best"]) for row in listed] == [
        (40, 0, True, False),
        (20, 0, False, True),
    ]
    for row in listed:
        assert client.get(f"/v1/checkpoints/{row['id']}/content").content == b"weights"
    assert client.get(f"{answer.headers['Location']}/previews/0.png").status_code == 200
    evaluations = client.get(f"{answer.headers['Location']}/evaluations").json()["data"]
    assert [(row["step"], row["is_best"]) for row in evaluations] == [(40, False), (20, True)]


def test_a_retry_from_scratch_inherits_nothing(client: TestClient, fake_worker: FakeWorker) -> None:
    old = _failed(fake_worker)
    job = client.post(f"/v1/jobs/{old}/retry", json={"from": "scratch"}).json()
    assert (job["retry_of"], job["progress"]["step"], job["last_checkpoint_id"]) == (old, 0, None)
    assert client.get(f"/v1/jobs/{job['id']}/metrics").json() == []
    assert job["id"] not in fake_worker.artifacts.folders()


def test_a_cancelled_job_without_a_checkpoint_is_retried_from_scratch(
    client: TestClient, fake_worker: FakeWorker
) -> None:
    old = fake_worker.submit()
    client.post(f"/v1/jobs/{old}/cancel")
    answer = client.post(f"/v1/jobs/{old}/retry")
    assert answer.status_code == 201 and answer.json()["progress"]["step"] == 0
    assert answer.json()["spec"] == client.get(f"/v1/jobs/{old}").json()["spec"]


@pytest.mark.parametrize("status", ["queued", "running", "paused", "succeeded"])
@pytest.mark.parametrize("origin", ["last", "scratch"])
def test_only_failed_and_cancelled_jobs_can_be_retried(
    client: TestClient, fake_worker: FakeWorker, status: str, origin: str
) -> None:
    job_id = fake_worker.train() if status in ("running", "succeeded") else fake_worker.submit()
    if status == "succeeded":
        fake_worker.checkpoint(job_id, 10)
        fake_worker.finish(job_id, Status.SUCCEEDED)
    if status == "paused":
        _ask(client, job_id, "pause")
    folders = fake_worker.artifacts.folders()
    answer = client.post(f"/v1/jobs/{job_id}/retry", json={"from": origin})
    body = assert_problem(answer, 409, "invalid-transition")
    assert body["current_status"] == status and "retry" not in body["allowed_actions"]
    assert len(client.get("/v1/jobs").json()["data"]) == 1, "no job was created"
    assert fake_worker.artifacts.folders() == folders, "no file was created"


def test_a_retry_that_cannot_be_stored_leaves_no_file(client: TestClient, fake_worker: FakeWorker) -> None:
    old = _failed(fake_worker)
    with fake_worker.db.write() as s:
        s.execute(delete(Dataset))
    assert_problem(client.post(f"/v1/jobs/{old}/retry"), 404, "dataset-not-found")
    assert fake_worker.artifacts.folders() == [old]


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"from": "best"}, "/from", "not-one-of"),
        ({"from": None}, "/from", "not-one-of"),
        ({"from": ["last"]}, "/from", "not-one-of"),
        ({"form": "last"}, "/form", "unknown-field"),
        ({"total_steps": 9, "from": "last"}, "/total_steps", "unknown-field"),
    ],
)
def test_a_retry_takes_one_field(
    client: TestClient, fake_worker: FakeWorker, body: dict[str, Any], pointer: str, code: str
) -> None:
    answer = client.post(f"/v1/jobs/{_failed(fake_worker)}/retry", json=body)
    errors = assert_problem(answer, 422, "invalid-spec")["errors"]
    assert [(error["pointer"], error["code"]) for error in errors] == [(pointer, code)]


def test_a_drained_worker_takes_no_more_jobs(client: TestClient, fake_worker: FakeWorker) -> None:
    fake_worker.worker("wrk_1")
    for _ in range(2):
        answer = client.post("/v1/workers/wrk_1/drain")
        assert answer.status_code == 200 and answer.json()["status"] == "draining"
    assert client.get("/v1/workers").json()["data"] == [answer.json()]
    body = assert_problem(client.post("/v1/workers/wrk_2/drain"), 404, "worker-not-found")
    assert body["detail"] == "There is no worker 'wrk_2'."
    assert_problem(client.post("/v1/workers/wrk_1/drain", json={"now": True}), 422, "invalid-spec")
