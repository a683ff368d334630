"""Real images of a data set on one sheet: which are asked of the sampler, and what is refused before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from jobs.errors import DatasetAwayError
from tests.api.conftest import Hand, assert_problem

SHEET = "/v1/datasets/fashion-mnist-mini/contact-sheet"


class SilentSampler:
    """In the sampler's place: notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.away = ""

    async def contact_sheet(self, request: dict[str, Any]) -> bytes:
        self.asked.append(request)
        if self.away:
            raise DatasetAwayError(self.away)
        return b"png"

    async def close(self) -> None:
        """There is nothing to close."""


@pytest.fixture
def sampler(client: TestClient) -> SilentSampler:
    made, state = SilentSampler(), client.app.state  # type: ignore[attr-defined]
    state.services = replace(state.services, sampler=made)
    return made


def test_a_row_a_class_each_with_its_label(client: TestClient, sampler: SilentSampler) -> None:
    answer = client.get(SHEET)
    assert answer.content == b"png" and answer.headers["content-type"] == "image/png"
    (asked,) = sampler.asked
    assert asked["class_ids"] == list(range(10)) and (asked["n"], asked["rows"]) == (8, 10)
    assert asked["row_labels"][7] == "Sneaker"


def test_one_class_fills_a_square_without_its_label(client: TestClient, sampler: SilentSampler) -> None:
    client.get(f"{SHEET}?label=Bag&n=60")
    (asked,) = sampler.asked
    assert (asked["class_ids"], asked["rows"], asked["row_labels"]) == ([8], 6, [])


def test_classes_are_named_by_label_or_id_and_shown_once(client: TestClient, sampler: SilentSampler) -> None:
    client.get(f"{SHEET}?label=Bag&label=0&label=Bag&n=2")
    assert sampler.asked[0]["class_ids"] == [8, 0]


def test_a_repeat_is_304_and_another_caller_needs_no_sampler(client: TestClient, sampler: SilentSampler) -> None:
    first = client.get(SHEET)
    assert client.get(SHEET, headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    assert client.get(SHEET).content == b"png" and len(sampler.asked) == 1
    assert client.get(f"{SHEET}?n=3").headers["ETag"] != first.headers["ETag"]


@pytest.mark.parametrize(
    ("query", "code"),
    [("label=Socks", "unknown-label"), ("n=65", "invalid-parameters"), ("n=0", "invalid-parameters")],
)
def test_what_cannot_be_is_refused(client: TestClient, sampler: SilentSampler, query: str, code: str) -> None:
    assert_problem(client.get(f"{SHEET}?{query}"), 422, code)
    assert sampler.asked == []


def test_one_that_is_not_ready_or_not_there_has_none(client: TestClient, hand: Hand, sampler: SilentSampler) -> None:
    hand.dataset("mine")
    assert_problem(client.get("/v1/datasets/mine/contact-sheet"), 409, "dataset-not-ready")
    assert_problem(client.get("/v1/datasets/nowhere/contact-sheet"), 404, "dataset-not-found")


def test_images_without_labels_have_one_sheet_alone(client: TestClient, hand: Hand, sampler: SilentSampler) -> None:
    hand.dataset("mine", status="ready", classes=[])
    client.get("/v1/datasets/mine/contact-sheet?n=12")
    assert (sampler.asked[0]["class_ids"], sampler.asked[0]["rows"]) == ([None], 3)
    assert_problem(client.get("/v1/datasets/mine/contact-sheet?label=Bag"), 422, "unlabelled")


def test_more_than_1024_images_are_refused(client: TestClient, hand: Hand, sampler: SilentSampler) -> None:
    hand.dataset("mine", status="ready", classes=[{"id": i, "label": f"c{i}", "count": 1} for i in range(200)])
    body = assert_problem(client.get("/v1/datasets/mine/contact-sheet"), 422, "invalid-parameters")
    assert body["errors"][0]["pointer"] == "/n"
    assert client.get("/v1/datasets/mine/contact-sheet?n=5").status_code == 200


def test_images_that_are_not_on_the_machine_are_said(client: TestClient, sampler: SilentSampler) -> None:
    sampler.away = "Install it."
    body = assert_problem(client.get("/v1/datasets/fashion-mnist/contact-sheet"), 409, "dataset-away")
    assert body["detail"] == "Install it."


def test_a_sampler_that_is_down_is_503(client: TestClient) -> None:
    assert_problem(client.get(SHEET), 503, "sampler-unavailable")


def test_a_sheet_goes_with_its_data_set(client: TestClient, hand: Hand, sampler: SilentSampler) -> None:
    row = hand.dataset("mine", status="ready", classes=[])
    client.get("/v1/datasets/mine/contact-sheet")
    services = client.app.state.services  # type: ignore[attr-defined]
    kept = services.settings.samples_cache_dir
    assert [path for path in kept.iterdir() if path.name.startswith(row.id)]
    assert client.delete("/v1/datasets/mine").status_code == 204
    assert [path for path in kept.iterdir() if path.name.startswith(row.id)] == []
