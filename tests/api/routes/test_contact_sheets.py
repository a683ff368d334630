"""Contact sheets: the requests to the sampler, and the requests that are refused before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from jobs.errors import DatasetAwayError
from tests.api.conftest import FakeWorker, assert_problem

SHEET = "/v1/datasets/fashion-mnist-mini/contact-sheet"


class FakeSampler:
    """A sampler that records its requests."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.away = ""

    async def contact_sheet(self, request: dict[str, Any]) -> bytes:
        self.requests.append(request)
        if self.away:
            raise DatasetAwayError(self.away)
        return b"png"

    async def close(self) -> None:
        """Do nothing."""


@pytest.fixture
def sampler(client: TestClient) -> FakeSampler:
    made, state = FakeSampler(), client.app.state  # type: ignore[attr-defined]
    state.services = replace(state.services, sampler=made)
    return made


def test_each_class_has_a_row_with_its_label(client: TestClient, sampler: FakeSampler) -> None:
    answer = client.get(SHEET)
    assert answer.content == b"png" and answer.headers["content-type"] == "image/png"
    (request,) = sampler.requests
    assert request["class_ids"] == list(range(10)) and (request["n"], request["rows"]) == (8, 10)
    assert request["row_labels"][7] == "Sneaker"


def test_one_class_fills_a_square_without_its_label(client: TestClient, sampler: FakeSampler) -> None:
    client.get(f"{SHEET}?label=Bag&n=60")
    (request,) = sampler.requests
    assert (request["class_ids"], request["rows"], request["row_labels"]) == ([8], 6, [])


def test_classes_are_named_by_label_or_id_and_shown_once(client: TestClient, sampler: FakeSampler) -> None:
    client.get(f"{SHEET}?label=Bag&label=0&label=Bag&label=8&n=2")
    assert sampler.requests[0]["class_ids"] == [8, 0]


def test_a_repeated_request_needs_no_sampler(client: TestClient, sampler: FakeSampler) -> None:
    first = client.get(SHEET)
    assert client.get(SHEET, headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    assert client.get(SHEET).content == b"png" and len(sampler.requests) == 1
    assert client.get(f"{SHEET}?n=3").headers["ETag"] != first.headers["ETag"]


@pytest.mark.parametrize(
    ("query", "code"),
    [("label=Socks", "unknown-label"), ("n=65", "invalid-parameters"), ("n=0", "invalid-parameters")],
)
def test_an_invalid_request_is_refused(client: TestClient, sampler: FakeSampler, query: str, code: str) -> None:
    assert_problem(client.get(f"{SHEET}?{query}"), 422, code)
    assert sampler.requests == []


def test_an_unready_or_unknown_data_set_has_no_sheet(
    client: TestClient, fake_worker: FakeWorker, sampler: FakeSampler
) -> None:
    fake_worker.dataset("mine")
    assert_problem(client.get("/v1/datasets/mine/contact-sheet"), 409, "dataset-not-ready")
    assert_problem(client.get("/v1/datasets/nowhere/contact-sheet"), 404, "dataset-not-found")


def test_a_data_set_without_labels_has_one_grid(
    client: TestClient, fake_worker: FakeWorker, sampler: FakeSampler
) -> None:
    fake_worker.dataset("mine", status="ready", classes=[])
    client.get("/v1/datasets/mine/contact-sheet?n=12")
    assert (sampler.requests[0]["class_ids"], sampler.requests[0]["rows"]) == ([None], 3)
    assert_problem(client.get("/v1/datasets/mine/contact-sheet?label=Bag"), 422, "unlabelled")


def test_more_than_1024_images_are_refused(client: TestClient, fake_worker: FakeWorker, sampler: FakeSampler) -> None:
    fake_worker.dataset("mine", status="ready", classes=[{"id": i, "label": f"c{i}", "count": 1} for i in range(200)])
    body = assert_problem(client.get("/v1/datasets/mine/contact-sheet"), 422, "invalid-parameters")
    assert body["errors"][0]["pointer"] == "/n"
    assert client.get("/v1/datasets/mine/contact-sheet?n=5").status_code == 200


def test_a_data_set_without_local_images_is_409(client: TestClient, sampler: FakeSampler) -> None:
    sampler.away = "Install it."
    body = assert_problem(client.get("/v1/datasets/fashion-mnist/contact-sheet"), 409, "dataset-away")
    assert body["detail"] == "Install it."


def test_a_sampler_that_is_down_is_503(client: TestClient) -> None:
    assert_problem(client.get(SHEET), 503, "sampler-unavailable")


def test_deleting_a_data_set_removes_its_cached_sheets(
    client: TestClient, fake_worker: FakeWorker, sampler: FakeSampler
) -> None:
    row = fake_worker.dataset("mine", status="ready", classes=[])
    client.get("/v1/datasets/mine/contact-sheet")
    services = client.app.state.services  # type: ignore[attr-defined]
    kept = services.settings.samples_cache_dir
    assert [path for path in kept.iterdir() if path.name.startswith(row.id)]
    assert client.delete("/v1/datasets/mine").status_code == 204
    assert [path for path in kept.iterdir() if path.name.startswith(row.id)] == []
