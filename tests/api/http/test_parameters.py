"""The parameter `fields`, with which a list has rows with some of their fields only."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import FakeWorker, assert_problem

LISTS = ("jobs", "datasets", "presets", "workers", "webhooks", "keys", "tenants", "audit")
OF_A_JOB = ("events", "evaluations", "checkpoints")


@pytest.mark.parametrize("path", [*LISTS, *(f"jobs/{{job}}/{name}" for name in OF_A_JOB)])
def test_every_list_refuses_an_unknown_field_and_names_the_known_ones(
    client: TestClient, fake_worker: FakeWorker, path: str
) -> None:
    address = f"/v1/{path.format(job=fake_worker.submit())}"
    (error,) = assert_problem(client.get(f"{address}?fields=idd"), 422, "invalid-parameters")["errors"]
    assert error["pointer"] == "/fields" and error["code"] == "not-one-of"
    known = error["detail"].partition("are: ")[2].rstrip(".").split(", ")
    for row in client.get(address).json()["data"]:
        assert sorted(row) == sorted(known)
    page = client.get(address, params={"fields": f"{known[1]},{known[0]}"}).json()
    assert page.keys() == {"data", "has_more", "next_cursor"}
    assert all(row.keys() == {known[0], known[1]} for row in page["data"])


def test_a_thin_list_has_the_rows_and_the_pages_of_the_whole_one(client: TestClient, fake_worker: FakeWorker) -> None:
    for _ in range(3):
        fake_worker.submit()
    whole = client.get("/v1/jobs").json()["data"]
    page = client.get("/v1/jobs", params={"fields": "id,status", "limit": 2}).json()
    assert page["has_more"] and page["data"] == [{key: row[key] for key in ("id", "status")} for row in whole[:2]]
    rest = client.get("/v1/jobs", params={"fields": "id,status", "cursor": page["next_cursor"]}).json()
    assert [row["id"] for row in rest["data"]] == [whole[2]["id"]] and not rest["has_more"]
    assert_problem(client.get("/v1/jobs?fields="), 422, "invalid-parameters")
