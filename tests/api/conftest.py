"""Fixtures: the real app over SQLite, and a fake worker that writes to its database."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy import select, update

from jobs import clock, leases
from jobs.db import Database
from jobs.ids import new_id
from jobs.models import Checkpoint, Dataset, Worker
from jobs.runtime.settings import Settings
from jobs.status import Status
from jobs.storage import keys
from jobs.store import checkpoints, datasets, evaluations, health, metrics, previews, workers
from tests.api.apps import asking
from tests.api.shell import service
from tests.jobs.helpers import files_of

FINDING: Final[dict[str, Any]] = {
    "code": "vanishing_gradients",
    "severity": "critical",
    "began_at_step": 10,
    "found_at_step": 50,
    "message": "D is so sure that G gets no gradient.",
    "evidence": [{"metric": "loss_d", "value": 0.01, "threshold": 0.1}],
    "remedy": [
        {"pointer": "/optimizers/d/learning_rate", "value": 0.0001, "why": "A slower D stays within reach."},
        {"pointer": "/stabilizers", "value": {"real_label": 0.9}, "why": "Smoothing bounds its logits."},
    ],
}
DEFAULT_JOB = {"dataset": "fashion-mnist-mini", "total_steps": 100, "batch_size": 16}


# It does not count as silent while a test runs, also on a machine that stands still.
_LEASE_SECONDS = 3600


class FakeWorker:
    """Writes to the database what a worker would write, with the functions of `jobs`."""

    def __init__(self, settings: Settings, client: TestClient) -> None:
        self.db, self.artifacts = Database(settings.database), files_of(settings)
        self.client = client

    def submit(self, **fields: Any) -> str:
        """Submit a job and return its id."""
        answer = self.client.post("/v1/jobs", json={**DEFAULT_JOB, **fields})
        assert answer.status_code == 201, answer.text
        job_id: str = answer.json()["id"]
        return job_id

    def worker(self, worker_id: str = "wrk_1") -> str:
        """Register a worker that is not lost while the test runs, and return its id."""
        with self.db.write() as s:
            workers.register(s, worker_id, "host", [{"name": "cpu"}])
            s.execute(update(Worker).where(Worker.id == worker_id).values(heartbeat_at=clock.now() + 3600))
        return worker_id

    def claim(self) -> str:
        """Start the next queued job and return its id."""
        with self.db.write() as s:
            job = leases.claim(s, "worker-1", "cpu (2 cores)", 0, _LEASE_SECONDS)
        assert job is not None
        return job.id

    def train(self, **fields: Any) -> str:
        """Submit a job, start it and return its id."""
        job_id = self.submit(**fields)
        while self.claim() != job_id:
            pass
        return job_id

    def progress(self, job_id: str, step: int, rate: float | None = 800.0, **latest: float) -> None:
        seen = step * DEFAULT_JOB["batch_size"]  # type: ignore[operator]
        with self.db.write() as s:
            progress = {"step": step, "images_seen": seen, "images_per_second": rate, "latest_metrics": latest}
            leases.fence(s, job_id, 1, _LEASE_SECONDS, **progress)

    def curve(self, job_id: str, values: np.ndarray[Any, Any], *names: str, first_step: int = 1) -> None:
        """Append values of curves, (steps, names), from `first_step` on."""
        with self.db.write() as s:
            metrics.append(s, job_id, 1, first_step, names, values.astype(np.float32))

    def evaluate(self, job_id: str, step: int, fcd: float | None, *, best: bool = False) -> None:
        figures = {"fcd": fcd, "coverage": 0.5, "label_accuracy": 0.75}
        details = {"class_histogram": {"Bag": 0.2}, "provenance": {"feature_net": "abc", "images": 2000}}
        with self.db.write() as s:
            evaluations.register(s, job_id, 1, step, figures, details, best_so_far=best)

    def find(self, job_id: str, verdict: str, *findings: dict[str, Any]) -> None:
        """Store a verdict with its findings."""
        with self.db.write() as s:
            health.record(s, job_id, 1, 50, verdict, findings, raised=findings)

    def checkpoint(self, job_id: str, step: int, content: bytes = b"weights", *, best: bool = False) -> Checkpoint:
        key, weights_key = keys.checkpoint(job_id, step, 1), keys.weights(job_id, step, 1)
        file, weights = (
            self.artifacts.put_bytes(key, b"full " + content),
            self.artifacts.put_bytes(weights_key, content),
        )
        with self.db.write() as s:
            return checkpoints.register(s, job_id, 1, step, {"loss_d": 1.0}, file, weights, best=best)

    def preview(self, job_id: str, step: int, shade: int) -> bytes:
        picture = io.BytesIO()
        Image.new("L", (8, 8), shade).save(picture, format="PNG")
        stored = self.artifacts.put_bytes(keys.preview(job_id, step, 1), picture.getvalue())
        with self.db.write() as s:
            previews.register(s, job_id, 1, step, stored)
        return picture.getvalue()

    def dataset(self, name: str, **values: Any) -> Dataset:
        """Return an uploaded data set with these values; create it if it does not exist."""
        with self.db.write() as s:
            row = s.scalars(select(Dataset).where(Dataset.name == name)).one_or_none()
            row = row or datasets.create_upload(s, new_id("ds"), name, None)
            if values.get("status") == "ready":
                row.num_images, row.channels, row.height, row.width, row.num_held_out = 64, 1, 16, 16, 7
            for field, value in values.items():
                setattr(row, field, value)
            return row

    def finish(self, job_id: str, status: Status, error: dict[str, Any] | None = None) -> None:
        with self.db.write() as s:
            leases.finish(s, job_id, 1, status, error)


@pytest.fixture
def client(sqlite_settings: Settings) -> Iterator[TestClient]:
    """Yield a client of the started app, which gets errors as responses."""
    with asking(sqlite_settings) as started:
        yield started


@pytest.fixture
def fake_worker(sqlite_settings: Settings, client: TestClient) -> Iterator[FakeWorker]:
    fake = FakeWorker(sqlite_settings, client)
    yield fake
    fake.db.dispose()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Yield the settings of a running `python -m api`, which all tests of a file share."""
    with service(tmp_path_factory.mktemp("served")) as settings:
        yield settings


def assert_problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """Assert that the response is this problem, and return its body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json", answer.headers
    body: dict[str, Any] = answer.json()
    assert body["code"] == code and body["status"] == status, body
    assert {"type", "title", "detail", "instance", "request_id"} <= body.keys()
    assert body["request_id"] == answer.headers["X-Request-Id"]
    return body
