"""A job that no device could hold is refused before it is taken; nobody is asked about one that any could."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from jobs.errors import SamplerUnavailableError
from jobs.store import workers
from tests.api.conftest import DEFAULT_JOB, Hand, assert_problem

GIB = 2**30
HUGE = {**DEFAULT_JOB, "preset": "sagan", "batch_size": 4096}


class Estimator:
    """Stands for the sampler: says a number, or that it is not there; and how often it was asked."""

    def __init__(self, memory_bytes: int | None) -> None:
        self.memory_bytes, self.asked = memory_bytes, 0

    async def estimate(self, *_: Any) -> dict[str, int]:
        self.asked += 1
        if self.memory_bytes is None:
            raise SamplerUnavailableError("It is away.")
        return {"memory_bytes": self.memory_bytes}

    async def close(self) -> None:
        """There is nothing to close."""


@pytest.fixture
def worker(hand: Hand) -> Iterator[None]:
    """One with a GPU of 80 GiB, and one with a processor."""
    with hand.db.write() as s:
        workers.register(s, "wrk_a", "a", [{"name": "H100", "memory_bytes": 80 * GIB}], gpus=1)
        workers.register(s, "wrk_b", "b", [{"name": "cpu", "memory_bytes": 24 * GIB}])
        workers.register(s, "wrk_c", "c", [{"name": "an old card", "memory_bytes": None}], gpus=1)
    yield


def estimator(client: TestClient, memory_bytes: int | None) -> Estimator:
    app = client.app
    assert isinstance(app, FastAPI)
    stands_in = Estimator(memory_bytes)
    app.state.services = replace(app.state.services, sampler=stands_in)
    return stands_in


def test_a_job_too_large_for_every_device_is_refused(client: TestClient, hand: Hand, worker: None) -> None:
    estimator(client, 691 * GIB)
    body = assert_problem(client.post("/v1/jobs", json=HUGE), 422, "over-limit")
    assert "about 691 GiB" in body["detail"] and "has 80 GiB" in body["detail"]
    assert body["errors"][0]["pointer"] == "/batch_size"
    assert client.get("/v1/jobs").json()["data"] == []


def test_one_that_the_largest_holds_is_taken(client: TestClient, hand: Hand, worker: None) -> None:
    asked = estimator(client, 79 * GIB)
    assert client.post("/v1/jobs", json=HUGE).status_code == 201 and asked.asked == 1


def test_without_the_sampler_the_bounds_alone_hold(client: TestClient, hand: Hand, worker: None) -> None:
    asked = estimator(client, None)
    assert client.post("/v1/jobs", json=HUGE).status_code == 201 and asked.asked == 1
    assert client.post("/v1/jobs", json={**HUGE, "batch_size": 4097}).status_code == 422


def test_nobody_is_asked_about_a_job_that_any_device_holds(client: TestClient, hand: Hand, worker: None) -> None:
    asked = estimator(client, 691 * GIB)
    assert client.post("/v1/jobs", json=DEFAULT_JOB).status_code == 201
    assert client.post("/v1/jobs", json={**DEFAULT_JOB, "preset": "sagan"}).status_code == 201
    assert asked.asked == 0


def test_where_no_worker_was_ever_seen_nothing_is_known(client: TestClient) -> None:
    asked = estimator(client, 691 * GIB)
    assert client.post("/v1/jobs", json=HUGE).status_code == 201 and asked.asked == 0


def test_an_unknown_data_set_is_what_is_wrong(client: TestClient, hand: Hand, worker: None) -> None:
    estimator(client, 691 * GIB)
    assert_problem(client.post("/v1/jobs", json={**HUGE, "dataset": "nope"}), 422, "unknown-dataset")
