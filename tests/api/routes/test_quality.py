"""Evaluations, the best checkpoint, and the health of a job."""

from __future__ import annotations

from fastapi.testclient import TestClient

from gan.spec import PRESETS
from tests.api.conftest import FINDING, FakeWorker, assert_problem


def test_evaluations_are_listed_newest_first_and_one_is_the_best(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    for step, fcd, best in ((10, 9.0, True), (20, 4.0, True), (30, None, False)):
        fake_worker.evaluate(job_id, step, fcd, best=best)
    path = client.get(f"/v1/jobs/{job_id}").json()["links"]["evaluations"]
    first = client.get(f"{path}?limit=2").json()
    rest = client.get(path, params={"limit": 2, "cursor": first["next_cursor"]}).json()
    listed = [*first["data"], *rest["data"]]
    assert [(e["step"], e["metrics"]["fcd"], e["is_best"]) for e in listed] == [
        (30, None, False),
        (20, 4.0, True),
        (10, 9.0, False),
    ]
    assert first["has_more"] and not rest["has_more"]
    assert listed[0]["class_histogram"] == {"Bag": 0.2} and listed[0]["real_class_histogram"] == {}
    assert listed[0]["provenance"]["images"] == 2000 and listed[0]["attempt"] == 1
    assert listed[0]["created_at"].endswith("Z")


def test_metrics_of_evaluations_are_curves(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    fake_worker.evaluate(job_id, 10, 9.0)
    fake_worker.evaluate(job_id, 20, 4.5)
    series = client.get(f"/v1/jobs/{job_id}/metrics/series?names=fcd,coverage").json()["series"]
    assert series == {"fcd": [[10, 9.0], [20, 4.5]], "coverage": [[10, 0.5], [20, 0.5]]}


def test_the_best_checkpoint_is_named_and_sampled(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    best, last = fake_worker.checkpoint(job_id, 10, best=True), fake_worker.checkpoint(job_id, 20)
    job = client.get(f"/v1/jobs/{job_id}").json()
    assert (job["best_checkpoint_id"], job["last_checkpoint_id"]) == (best.id, last.id)
    listed = client.get(f"/v1/jobs/{job_id}/checkpoints").json()["data"]
    assert [(c["id"], c["is_best"], c["is_last"]) for c in listed] == [(last.id, False, True), (best.id, True, False)]

    def source(query: str) -> str:
        manifest = {"Accept": "application/json"}
        answer = client.get(f"/v1/jobs/{job_id}/samples?{query}", headers=manifest).json()
        return str(answer["checkpoint"]["id"])

    assert source("") == source("checkpoint=best") == best.id and source("checkpoint=last") == last.id


def test_without_evaluations_there_is_no_best_checkpoint(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    fake_worker.checkpoint(job_id, 10)
    answer = client.get(f"/v1/jobs/{job_id}/samples?checkpoint=best")
    assert "'last'" in assert_problem(answer, 409, "no-checkpoint")["detail"]
    assert client.get(f"/v1/jobs/{job_id}").json()["best_checkpoint_id"] is None


def test_a_finding_is_in_the_job_and_among_its_events(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    fake_worker.find(job_id, "failing", FINDING)
    health = client.get(f"/v1/jobs/{job_id}").json()["health"]
    assert (health["verdict"], health["reason"], health["findings"]) == ("failing", None, [FINDING])
    event = client.get(f"/v1/jobs/{job_id}/events").json()["data"][-1]
    assert event["type"] == "health.finding" and event["data"] == {**FINDING, "verdict": "failing"}


def test_a_new_finding_changes_the_etag(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    etag = client.get(f"/v1/jobs/{job_id}").headers["ETag"]
    fake_worker.find(job_id, "failing", FINDING)
    assert client.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": etag}).status_code == 200


def test_a_remedy_can_be_submitted(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    spec = client.get(f"/v1/jobs/{job_id}").json()["spec"]
    spec["optimizers"]["d"]["learning_rate"] = 0.0001
    answer = client.post("/v1/jobs", json=spec)
    assert answer.status_code == 201 and answer.json()["spec"] == spec


def test_a_job_without_evaluations_has_an_empty_list(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.submit(evaluation={"enabled": False})
    body = client.get(f"/v1/jobs/{job_id}/evaluations").json()
    assert body == {"data": [], "has_more": False, "next_cursor": None}
    answer = client.get(f"/v1/jobs/{job_id}/evaluations?cursor=x")
    assert_problem(answer, 422, "bad-cursor")


def test_a_preset_has_the_results_that_it_should_reach(client: TestClient) -> None:
    for row in client.get("/v1/presets").json()["data"]:
        assert row["reach"] == PRESETS[row["name"]].reach
