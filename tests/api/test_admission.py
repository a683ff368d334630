"""Admission: a job that no device could hold is refused; the sampler is asked only about large jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from jobs.errors import SamplerUnavailableError
from jobs.store import workers
from tests.api.conftest import DEFAULT_JOB, FakeWorker, assert_problem

GIB = 2**30
WIDE = {"base_channels": 256}
HUGE = {**DEFAULT_JOB, "preset": "sagan", "batch_size": 4096, "generator": WIDE, "discriminator": WIDE}


class FakeEstimator:
    """A sampler that returns `memory_bytes`, or is unavailable if it is None; it counts its requests."""

    def __init__(self, memory_bytes: int | None) -> None:
        self.memory_bytes, self.request_count = memory_bytes, 0

    async def estimate(self, *_: Any) -> dict[str, int]:
        self.request_count += 1
        if self.memory_bytes is None:
            raise SamplerUnavailableError("It is away.")
        sizes = ("generator_parameters", "discriminator_parameters", "checkpoint_bytes", "disk_bytes")
        return {**dict.fromkeys(sizes, 1), "memory_bytes": self.memory_bytes}

    async def close(self) -> None:
        """Do nothing."""


@pytest.fixture
def worker(fake_worker: FakeWorker) -> Iterator[None]:
    """Register a worker with a GPU of 80 GiB, one with a GPU of unknown memory, and one with a CPU."""
    with fake_worker.db.write() as s:
        workers.register(s, "wrk_a", "a", [{"name": "H100", "memory_bytes": 80 * GIB}], gpus=1)
        workers.register(s, "wrk_b", "b", [{"name": "cpu", "memory_bytes": 24 * GIB}])
        workers.register(s, "wrk_c", "c", [{"name": "an old card", "memory_bytes": None}], gpus=1)
    yield


def estimator(client: TestClient, memory_bytes: int | None) -> FakeEstimator:
    app = client.app
    assert isinstance(app, FastAPI)
    fake = FakeEstimator(memory_bytes)
    app.state.services = replace(app.state.services, sampler=fake)
    return fake


def test_a_job_too_large_for_every_device_is_refused(
    client: TestClient, fake_worker: FakeWorker, worker: None
) -> None:
    estimator(client, 691 * GIB)
    body = assert_problem(client.post("/v1/jobs", json=HUGE), 422, "over-limit")
    assert "about 691 GiB" in body["detail"] and "has 80 GiB" in body["detail"]
    assert body["errors"][0]["pointer"] == "/batch_size"
    assert client.get("/v1/jobs").json()["data"] == []


def test_a_job_that_fits_the_largest_device_is_accepted(
    client: TestClient, fake_worker: FakeWorker, worker: None
) -> None:
    sampler = estimator(client, 79 * GIB)
    assert client.post("/v1/jobs", json=HUGE).status_code == 201 and sampler.request_count == 1


def test_without_the_sampler_only_the_limits_of_fields_count(
    client: TestClient, fake_worker: FakeWorker, worker: None
) -> None:
    sampler = estimator(client, None)
    assert client.post("/v1/jobs", json=HUGE).status_code == 201 and sampler.request_count == 1
    assert client.post("/v1/jobs", json={**HUGE, "batch_size": 4097}).status_code == 422


def test_the_sampler_is_not_asked_about_small_jobs(client: TestClient, fake_worker: FakeWorker, worker: None) -> None:
    sampler = estimator(client, 691 * GIB)
    assert client.post("/v1/jobs", json=DEFAULT_JOB).status_code == 201
    assert client.post("/v1/jobs", json={**DEFAULT_JOB, "preset": "sagan"}).status_code == 201
    assert sampler.request_count == 0


def test_a_dry_run_estimates_the_duration_from_a_measured_rate(client: TestClient, fake_worker: FakeWorker) -> None:
    estimator(client, GIB)
    body = {**DEFAULT_JOB, "total_steps": 1000}
    estimate = client.post("/v1/jobs?dry_run=true", json=body).json()["estimate"]
    assert (estimate["seconds"], estimate["images_per_second"], estimate["device"]) == (None, None, None)
    fake_worker.progress(fake_worker.train(), 25, rate=160.0)
    estimate = client.post("/v1/jobs?dry_run=true", json=body).json()["estimate"]
    assert estimate["seconds"] == round(1000 * 16 / 160), "batches of 16"
    assert estimate["images_per_second"] == 160 and estimate["device"] == "cpu (2 cores)"


def test_without_any_worker_every_job_is_accepted(client: TestClient) -> None:
    sampler = estimator(client, 691 * GIB)
    assert client.post("/v1/jobs", json=HUGE).status_code == 201 and sampler.request_count == 0


def test_an_unknown_data_set_is_reported_first(client: TestClient, fake_worker: FakeWorker, worker: None) -> None:
    estimator(client, 691 * GIB)
    assert_problem(client.post("/v1/jobs", json={**HUGE, "dataset": "nope"}), 422, "unknown-dataset")
