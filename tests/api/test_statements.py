"""The number of statements of a request, which does not depend on the number of rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from fastapi.testclient import TestClient

from jobs.status import Status
from tests.api.conftest import FakeWorker
from tests.api.live_service import counted

BEGIN = 1


def _asked(client: TestClient, url: str) -> tuple[int, int]:
    """Return the number of rows in the response, and the number of statements."""
    with counted() as statements:
        answer = client.get(url)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return len(body["data"] if isinstance(body, dict) and "data" in body else body), statements.count


def _some(fake_worker: FakeWorker, count: int) -> None:
    """Create jobs of every status, with checkpoints."""
    for number in range(count):
        job_id = fake_worker.train(labels={"team": "vision"})
        fake_worker.checkpoint(job_id, 10, best=number % 2 == 0)
        fake_worker.checkpoint(job_id, 20)
        if number % 3:
            fake_worker.finish(job_id, Status.SUCCEEDED)
    for _ in range(count):
        fake_worker.submit(labels={"team": "vision"})


@pytest.mark.parametrize("query", ["", "&status=queued", "&status=running,succeeded", "&label=team:vision"])
def test_a_list_takes_no_more_statements_for_fifty_jobs_than_for_a_few(
    client: TestClient, fake_worker: FakeWorker, query: str
) -> None:
    _some(fake_worker, 2)
    few = _asked(client, f"/v1/jobs?limit=50{query}")
    _some(fake_worker, 24)
    many = _asked(client, f"/v1/jobs?limit=50{query}")
    assert many[0] >= 10 * few[0] or many[0] >= 26
    # The positions of queued jobs take two statements, and one more where a queue is long.
    assert few[1] <= many[1] <= few[1] + 1 <= BEGIN + 6


@pytest.mark.parametrize(
    ("what", "add"),
    [
        ("checkpoints", lambda fake_worker, job_id, step: fake_worker.checkpoint(job_id, step)),
        ("evaluations", lambda fake_worker, job_id, step: fake_worker.evaluate(job_id, step, 1.0)),
        ("previews", lambda fake_worker, job_id, step: fake_worker.preview(job_id, step, 1)),
        ("events", lambda fake_worker, job_id, step: fake_worker.checkpoint(job_id, step)),
        ("metrics", lambda fake_worker, job_id, step: fake_worker.curve(job_id, np.ones((1, 1)), f"curve_{step}")),
    ],
)
def test_lists_of_a_job_need_no_more_statements_for_many_rows_than_for_one(
    client: TestClient, fake_worker: FakeWorker, what: str, add: Callable[[FakeWorker, str, int], object]
) -> None:
    job_id = fake_worker.train()
    add(fake_worker, job_id, 10)
    _, for_one = _asked(client, f"/v1/jobs/{job_id}/{what}")
    for step in range(20, 200, 10):
        add(fake_worker, job_id, step)
    rows, for_many = _asked(client, f"/v1/jobs/{job_id}/{what}")
    assert rows >= 19 and for_many == for_one


def test_a_poll_of_a_job_that_has_not_changed_is_one_query(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    fake_worker.checkpoint(job_id, 10, best=True)
    first = client.get(f"/v1/jobs/{job_id}")
    for headers in ({}, {"If-None-Match": first.headers["ETag"]}):
        with counted() as statements:
            assert client.get(f"/v1/jobs/{job_id}", headers=headers).status_code == (304 if headers else 200)
        assert statements.count == BEGIN + 1
