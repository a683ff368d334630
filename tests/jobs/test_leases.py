"""Tests of leases: one attempt at a time holds a job, and no other attempt can write."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from jobs import clock, leases
from jobs.db import Database
from jobs.errors import FencedError
from jobs.models import Attempt, Job, JobEvent
from jobs.status import Status
from jobs.store import events, jobs, outbox, workers
from tests.jobs.helpers import submit

LOST: dict[str, Any] = {"code": "crashed", "message": "It was killed."}


def _claim(db: Database, worker: str = "w1", gpus: int = 0, ttl: float = 30) -> Job | None:
    with db.write() as s:
        return leases.claim(s, worker, "cpu", gpus, ttl)


def _job(db: Database, job_id: str) -> Job:
    with db.read() as s:
        return jobs.get(s, job_id)


def _expire(db: Database, job_id: str) -> None:
    with db.write() as s:
        s.execute(update(Job).where(Job.id == job_id).values(lease_until=clock.now() - 1))


def _delay(db: Database, job_id: str, seconds: float) -> None:
    with db.write() as s:
        s.execute(update(Job).where(Job.id == job_id).values(not_before=clock.now() + seconds))


def test_a_claim_takes_the_job_and_records_the_worker(db: Database) -> None:
    job = submit(db)
    claimed = _claim(db)
    assert claimed is not None and claimed.id == job.id
    assert (claimed.status, claimed.attempt, claimed.lease_owner, claimed.device) == ("running", 1, "w1", "cpu")
    assert claimed.lease_until is not None and claimed.started_at is not None
    assert _claim(db) is None


def test_the_job_with_the_highest_priority_is_first_then_the_oldest(db: Database) -> None:
    plain, urgent, later = submit(db), submit(db, priority=5), submit(db)
    order = [claimed.id for claimed in (_claim(db), _claim(db), _claim(db)) if claimed]
    assert order == [urgent.id, plain.id, later.id]


def test_a_job_that_needs_a_gpu_waits_for_a_worker_with_one(db: Database) -> None:
    job = submit(db, resources={"gpus": 1})
    assert _claim(db, gpus=0) is None
    claimed = _claim(db, gpus=1)
    assert claimed is not None and claimed.id == job.id


def test_concurrent_workers_never_share_a_job(db: Database) -> None:
    ids = {submit(db).id for _ in range(6)}
    found: list[str] = []

    def work(worker: str) -> None:
        while (claimed := _claim(db, worker)) is not None:
            found.append(claimed.id)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(ids)


def test_renewing_extends_the_lease_and_returns_the_requests(db: Database) -> None:
    job = submit(db)
    _claim(db, ttl=1)
    before = _job(db, job.id).lease_until
    with db.write() as s:
        assert leases.renew(s, job.id, 1, 60) == leases.JobRequests(cancel=False, checkpoint=False)
    after = _job(db, job.id).lease_until
    assert before is not None and after is not None and after > before + 50
    with db.write() as s:
        jobs.request_cancel(s, job.id)
        jobs.request_checkpoint(s, job.id)
    with db.write() as s:
        assert leases.renew(s, job.id, 1, 60) == leases.JobRequests(cancel=True, checkpoint=True)


def test_the_requests_say_whether_to_stop() -> None:
    assert not leases.JobRequests(checkpoint=True).stop
    assert all(leases.JobRequests(**{request: True}).stop for request in ("cancel", "pause", "overdue"))


def test_a_job_that_reaches_its_max_runtime_fails(db: Database) -> None:
    job = submit(db, max_runtime_seconds=60)
    _claim(db)
    with db.write() as s:
        assert not leases.renew(s, job.id, 1, 30).overdue
        leases.release(s, job.id, 1, crash=False, reason=LOST)
        s.execute(update(Job).where(Job.id == job.id).values(ran_seconds=59.9))
    _claim(db)
    time.sleep(0.2)
    with db.write() as s:
        assert leases.renew(s, job.id, 2, 30) == leases.JobRequests(overdue=True)
        ended = leases.release(s, job.id, 2, crash=False, reason=LOST)
    assert ended.status == "failed" and ended.error is not None and ended.error["code"] == "max_runtime_exceeded"


def test_progress_is_written_under_the_fence(db: Database) -> None:
    job = submit(db)
    _claim(db)
    with db.write() as s:
        leases.fence(
            s, job.id, 1, 30, step=7, images_seen=448, images_per_second=99.5, latest_metrics={"loss_d": 1.0}
        )
    seen = _job(db, job.id)
    assert (seen.step, seen.images_seen, seen.images_per_second) == (7, 448, 99.5)
    assert seen.latest_metrics == {"loss_d": 1.0}


@pytest.mark.parametrize("wrong", ["older attempt", "ended", "queued again"])
def test_a_stale_attempt_can_write_nothing(db: Database, wrong: str) -> None:
    job = submit(db)
    _claim(db)
    with db.write() as s:
        if wrong == "ended":
            leases.finish(s, job.id, 1, Status.SUCCEEDED)
        else:
            leases.release(s, job.id, 1, crash=False, reason=LOST)
    if wrong == "older attempt":
        assert _claim(db, "w2") is not None
    for write in (
        lambda s: leases.fence(s, job.id, 1, 30, step=99),
        lambda s: leases.renew(s, job.id, 1, 30),
        lambda s: leases.finish(s, job.id, 1, Status.SUCCEEDED),
        lambda s: leases.release(s, job.id, 1, crash=True, reason=LOST),
    ):
        with pytest.raises(FencedError), db.write() as s:
            write(s)
    assert _job(db, job.id).step == 0


def test_the_database_refuses_a_second_end(db: Database) -> None:
    job = submit(db)
    _claim(db)
    with db.write() as s:
        leases.finish(s, job.id, 1, Status.SUCCEEDED)
    with pytest.raises(IntegrityError), db.write() as s:
        events.record(s, job.id, "job.status", {"status": "failed"}, attempt=1, ends_job=True)


def test_a_failed_job_has_its_error(db: Database) -> None:
    job = submit(db)
    _claim(db)
    error = {"code": "diverged", "message": "Loss is not finite.", "retryable": False, "step": 3, "hint": "Lower it."}
    with db.write() as s:
        leases.finish(s, job.id, 1, Status.FAILED, error)
    ended = _job(db, job.id)
    assert ended.status == "failed" and ended.error == error
    assert ended.finished_at is not None and ended.lease_until is None


def test_an_early_success_has_its_reason(db: Database) -> None:
    job = submit(db)
    _claim(db)
    reason = {"code": "stopped_early", "message": "The best is long past."}
    with db.write() as s:
        leases.finish(s, job.id, 1, Status.SUCCEEDED, reason=reason)
    ended = _job(db, job.id)
    assert (ended.status, ended.error, ended.status_reason) == ("succeeded", None, reason)
    with db.read() as s:
        assert events.page(s, job.id, 0, 10)[-1].data == {"status": "succeeded", "reason": reason}
        assert s.get_one(Attempt, (job.id, 1)).outcome == "stopped_early"


def test_a_crash_is_retried_with_a_delay_until_the_last_attempt(db: Database) -> None:
    job = submit(db, max_attempts=2)
    _claim(db)
    with db.write() as s:
        before = clock.read(s)
        released = leases.release(s, job.id, 1, crash=True, reason=LOST)
        after = clock.read(s)
    assert released.status == "queued" and released.status_reason == LOST
    assert before + 1 <= released.not_before <= after + 1
    _delay(db, job.id, 30)  # long enough for a busy machine
    assert _claim(db) is None
    _delay(db, job.id, 0)
    assert _claim(db) is not None
    with db.write() as s:
        ended = leases.release(s, job.id, 2, crash=True, reason=LOST)
    assert ended.status == "failed" and ended.error is not None
    assert ended.error["code"] == "max_attempts_exceeded"
    assert ended.error["message"] == "2 attempts crashed. The last error: It was killed."


def test_the_hint_of_the_last_crash_is_shown(db: Database) -> None:
    job = submit(db, max_attempts=1)
    _claim(db)
    with db.write() as s:
        ended = leases.release(s, job.id, 1, crash=True, reason=LOST, hint="Lower batch_size.")
    assert ended.error is not None and ended.error["hint"] == "Lower batch_size."
    assert ended.error["message"].startswith("The only attempt crashed")


def test_a_drain_does_not_count_as_a_crash_and_has_no_delay(db: Database) -> None:
    job = submit(db, max_attempts=1)
    for attempt in (1, 2, 3):
        claimed = _claim(db)
        assert claimed is not None and claimed.attempt == attempt
        with db.write() as s:
            assert leases.release(s, job.id, attempt, crash=False, reason=LOST).status == "queued"


def test_a_job_with_a_requested_cancel_is_not_queued_again(db: Database) -> None:
    job = submit(db)
    _claim(db)
    with db.write() as s:
        jobs.request_cancel(s, job.id)
    with db.write() as s:
        assert leases.release(s, job.id, 1, crash=True, reason=LOST).status == "cancelled"


def test_only_expired_leases_are_reaped(db: Database) -> None:
    held, lost = submit(db), submit(db)
    with db.write() as s:
        workers.register(s, "w2", "host", [])
        workers.set_current_job(s, "w2", lost.id)
    _claim(db, "w1"), _claim(db, "w2")
    _expire(db, lost.id)
    with db.write() as s:
        assert leases.reap(s) == [lost.id]
    with db.read() as s:
        assert workers.page(s, limit=5).data[0].current_job_id is None
    assert _job(db, held.id).status == "running"
    back = _job(db, lost.id)
    assert back.status == "queued" and back.status_reason is not None
    assert back.status_reason["code"] == "worker_lost"
    with db.write() as s:
        assert leases.reap(s) == []
        assert [hint.job_id for hint in outbox.fetch_due(s, 10)].count(lost.id) == 1


def test_events_are_in_order_without_a_gap(db: Database) -> None:
    job = submit(db)
    _claim(db)
    with db.write() as s:
        leases.fence(s, job.id, 1, 30, step=1)
        # However long it takes until the next one.
        s.execute(update(JobEvent).where(JobEvent.type == events.PROGRESS).values(at=JobEvent.at + 60))
        leases.fence(s, job.id, 1, 30, step=2)  # within the same second: no event of its own
        leases.finish(s, job.id, 1, Status.SUCCEEDED)
    with db.read() as s:
        recorded = events.page(s, job.id, after=0, limit=10)
    assert [(e.seq, e.type, e.data.get("status")) for e in recorded] == [
        (1, "job.status", "queued"),
        (2, "job.status", "running"),
        (3, "job.progress", None),
        (4, "job.status", "succeeded"),
    ]
