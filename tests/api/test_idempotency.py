"""A request that is repeated with its key creates nothing, whatever happens in between; on both databases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select, update

from jobs import clock
from jobs.models import IdempotencyKey, Job
from jobs.runtime.settings import Settings
from jobs.status import Status
from jobs.store import jobs
from jobs.store.callers import idempotency
from tests.api.conftest import DEFAULT_JOB, assert_problem
from tests.api.live_service import Live, serving

AT_ONCE = 20
ERROR: dict[str, Any] = {"code": "diverged", "message": "NaN.", "retryable": False, "step": 9, "hint": None}


@pytest.fixture
def live(settings: Settings) -> Iterator[Live]:
    with serving(settings) as started:
        yield started


def _post(live: Live, key: str | None, path: str = "/v1/jobs", **fields: Any) -> httpx2.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    body = {**DEFAULT_JOB, **fields} if path.startswith("/v1/jobs?") or path == "/v1/jobs" else fields
    return live.http.post(path, json=body, headers=headers)


def _count(live: Live, table: type[Any] = Job) -> int:
    with live.fake_worker.db.read() as s:
        return s.execute(select(func.count()).select_from(table)).scalar_one()


def _same(first: httpx2.Response, second: httpx2.Response) -> bool:
    kept = ("Location", "ETag", "Content-Type")
    return (first.status_code, first.content, *(first.headers[name] for name in kept)) == (
        second.status_code,
        second.content,
        *(second.headers[name] for name in kept),
    )


def _failed(live: Live) -> str:
    job_id = live.fake_worker.train()
    live.fake_worker.checkpoint(job_id, 5)
    live.fake_worker.progress(job_id, 9)
    live.fake_worker.finish(job_id, Status.FAILED, ERROR)
    return job_id


def _folders(live: Live) -> set[str]:
    return set(live.fake_worker.artifacts.folders())


def test_a_repeated_request_gets_the_first_response(live: Live) -> None:
    first = _post(live, "key-1")
    assert first.status_code == 201 and "Idempotency-Replayed" not in first.headers
    job_id = first.json()["id"]
    live.http.post(f"/v1/jobs/{job_id}/cancel")
    again = _post(live, "key-1")
    assert _same(first, again) and again.headers["Idempotency-Replayed"] == "true"
    live.http.delete(f"/v1/jobs/{job_id}")
    assert _same(first, _post(live, "key-1")) and _count(live) == 0
    assert _post(live, "key-2").json()["id"] != job_id and _post(live, None).status_code == 201


def test_the_order_of_fields_does_not_matter(live: Live) -> None:
    bodies = [b'{"dataset": "fashion-mnist", "seed": 3}', b' {"seed":3,\n"dataset":"fashion-mnist"}']
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    first, second = (live.http.post("/v1/jobs", content=body, headers=headers) for body in bodies)
    assert _same(first, second) and _count(live) == 1


def test_a_key_belongs_to_one_request(live: Live) -> None:
    failed = _failed(live)
    assert _post(live, "k").status_code == 201
    others = [
        _post(live, "k", seed=7),
        _post(live, "k", path="/v1/jobs?dry_run=false"),
        _post(live, "k", path=f"/v1/jobs/{failed}/retry"),
    ]
    for answer in others:
        body = assert_problem(answer, 422, "idempotency-key-reused")
        assert body["errors"][0]["pointer"] == "/Idempotency-Key" and "Use a new key" in body["detail"]
    assert _count(live) == 2 and _folders(live) == {failed}


def test_a_refused_request_leaves_its_key_free(live: Live) -> None:
    assert _post(live, "k", total_steps=0).status_code == 422
    assert _post(live, "k", dataset="nope").status_code == 422
    assert _post(live, "k", path=f"/v1/jobs/{live.fake_worker.submit()}/retry").status_code == 409
    assert _count(live, IdempotencyKey) == 0
    assert _post(live, "k").status_code == 201


def test_a_dry_run_keeps_no_key(live: Live) -> None:
    assert _post(live, "k", path="/v1/jobs?dry_run=true").status_code == 503, "the test's service has no sampler"
    assert _count(live, IdempotencyKey) == 0


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "k\u00e9y", "tab\there"])
def test_an_invalid_key_is_refused(live: Live, key: str) -> None:
    answer = live.http.post("/v1/jobs", json=DEFAULT_JOB, headers=[(b"Idempotency-Key", key.encode())])
    body = assert_problem(answer, 422, "invalid-parameters")
    assert body["errors"][0]["pointer"] == "/Idempotency-Key" and "visible ASCII" in body["detail"]


def test_two_keys_are_refused(live: Live) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    assert_problem(live.http.post("/v1/jobs", json=DEFAULT_JOB, headers=headers), 422, "invalid-parameters")
    assert _post(live, "!" + "~" * 254).status_code == 201


def test_after_a_day_a_key_is_free_again(live: Live) -> None:
    first = _post(live, "k")
    with live.fake_worker.db.write() as s:
        s.execute(update(IdempotencyKey).values(created_at=clock.now() - idempotency.KEPT_SECONDS - 1))
    second = _post(live, "k", seed=9)
    assert second.status_code == 201 and second.json()["id"] != first.json()["id"]
    assert _same(second, _post(live, "k", seed=9))
    with live.fake_worker.db.write() as s:
        s.execute(update(IdempotencyKey).values(created_at=clock.now() - idempotency.KEPT_SECONDS - 1))
        idempotency.delete_old(s)
    assert _count(live, IdempotencyKey) == 0


def test_many_at_once_with_one_key_make_one_job(live: Live) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(lambda _: _post(live, "k"), range(AT_ONCE)))
    assert [answer.status_code for answer in answers] == [201] * AT_ONCE
    assert all(_same(answers[0], answer) for answer in answers) and _count(live) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1


def test_many_retries_at_once_with_one_key_make_one_job_and_one_folder(live: Live) -> None:
    failed = _failed(live)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(lambda _: _post(live, "k", path=f"/v1/jobs/{failed}/retry"), range(AT_ONCE)))
    assert [answer.status_code for answer in answers] == [201] * AT_ONCE
    assert all(_same(answers[0], answer) for answer in answers) and _count(live) == 2
    assert _folders(live) == {failed, answers[0].json()["id"]}
    live.http.delete(f"/v1/jobs/{failed}")
    assert _same(answers[0], _post(live, "k", path=f"/v1/jobs/{failed}/retry")), (
        "also after the failed job is deleted"
    )


def test_many_at_once_with_one_key_for_two_requests_make_one_job(live: Live) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = list(threads.map(lambda seed: _post(live, "k", seed=seed % 2), range(AT_ONCE)))
    assert {answer.status_code for answer in answers} == {201, 422} and _count(live) == 1


def test_a_request_that_waited_for_a_failed_one_is_carried_out(live: Live) -> None:
    with ThreadPoolExecutor(1) as threads:
        with pytest.raises(RuntimeError), live.fake_worker.db.write() as s:
            assert idempotency.reserve(s, "anyone", "k", "of another request") is None
            waiting = threads.submit(_post, live, "k")
            time.sleep(0.3)  # the other request arrives while this one still holds the key
            raise RuntimeError
        assert waiting.result().status_code == 201
    with live.fake_worker.db.read() as s:
        assert len(jobs.page(s, limit=5).data) == 1
