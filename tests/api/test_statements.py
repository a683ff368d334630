"""The number of statements of a request, which does not depend on the number of rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from fastapi.testclient import TestClient

from jobs.status import Status
from tests.api.conftest import Hand
from tests.api.live_service import counted

BEGIN = 1


def _asked(client: TestClient, url: str) -> tuple[int, int]:
    """Return the number of rows in the response, and the number of statements."""
    with counted() as statements:
        answer = client.get(url)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return len(body["data"] if isinstance(body, dict) and "data" in body else body), statements.count


def _some(hand: Hand, count: int) -> None:
    """Create jobs of every status, with checkpoints."""
    for number in range(count):
        job_id = hand.train(labels={"team": "vision"})
        hand.checkpoint(job_id, 10, best=number % 2 == 0)
        hand.checkpoint(job_id, 20)
        if number % 3:
            hand.finish(job_id, Status.SUCCEEDED)
    for _ in range(count):
        hand.submit(labels={"team": "vision"})


@pytest.mark.parametrize("query", ["", "&status=queued", "&status=running,succeeded", "&label=team:vision"])
def test_a_list_takes_no_more_statements_for_fifty_jobs_than_for_a_few(
    client: TestClient, hand: Hand, query: str
) -> None:
    _some(hand, 2)
    few = _asked(client, f"/v1/jobs?limit=50{query}")
    _some(hand, 24)
    many = _asked(client, f"/v1/jobs?limit=50{query}")
    assert many[0] >= 10 * few[0] or many[0] >= 26
    assert many[1] == few[1] <= BEGIN + 4


@pytest.mark.parametrize(
    ("what", "add"),
    [
        ("checkpoints", lambda hand, job_id, step: hand.checkpoint(job_id, step)),
        ("evaluations", lambda hand, job_id, step: hand.evaluate(job_id, step, 1.0)),
        ("previews", lambda hand, job_id, step: hand.preview(job_id, step, 1)),
        ("events", lambda hand, job_id, step: hand.checkpoint(job_id, step)),
        ("metrics", lambda hand, job_id, step: hand.curve(job_id, np.ones((1, 1)), f"curve_{step}")),
    ],
)
def test_lists_of_a_job_need_no_more_statements_for_many_rows_than_for_one(
    client: TestClient, hand: Hand, what: str, add: Callable[[Hand, str, int], object]
) -> None:
    job_id = hand.train()
    add(hand, job_id, 10)
    _, for_one = _asked(client, f"/v1/jobs/{job_id}/{what}")
    for step in range(20, 200, 10):
        add(hand, job_id, step)
    rows, for_many = _asked(client, f"/v1/jobs/{job_id}/{what}")
    assert rows >= 19 and for_many == for_one


def test_a_poll_of_a_job_that_has_not_changed_is_one_query(client: TestClient, hand: Hand) -> None:
    job_id = hand.train()
    hand.checkpoint(job_id, 10, best=True)
    first = client.get(f"/v1/jobs/{job_id}")
    for headers in ({}, {"If-None-Match": first.headers["ETag"]}):
        with counted() as statements:
            assert client.get(f"/v1/jobs/{job_id}", headers=headers).status_code == (304 if headers else 200)
        assert statements.count == BEGIN + 1
