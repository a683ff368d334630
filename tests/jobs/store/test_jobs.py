"""Tests of submitting, listing, cancelling, pausing and deleting jobs."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from sqlalchemy import delete

from gan.spec import SpecError, from_record, resolve
from jobs import leases
from jobs.db import Database, Session
from jobs.errors import BadCursorError, InvalidTransitionError, JobNotFoundError
from jobs.models import Attempt, Checkpoint, Evaluation, Job, JobEvent, MetricBlock, Outbox, Preview
from jobs.runtime.settings import Settings
from jobs.status import Status
from jobs.storage import StoredFile
from jobs.store import checkpoints, datasets, evaluations, events, jobs, metrics, outbox, positions, previews
from tests.jobs.helpers import submit

# Cursors of this list whose keys no database accepts: half a surrogate pair, and a zero character.
BAD_CURSORS = [base64.urlsafe_b64encode(b'["jobs", "\\u%s"]' % code).decode() for code in (b"d800", b"0000")]

ERROR = {"code": "internal", "message": "It broke.", "retryable": True, "step": 0, "hint": None}


def _start(db: Database) -> Job:
    with db.write() as s:
        job = leases.claim(s, "w1", "cpu", 0, 30)
    assert job is not None
    return job


def _end(db: Database, job: Job, status: Status = Status.SUCCEEDED) -> None:
    with db.write() as s:
        leases.finish(s, job.id, job.attempt, status, ERROR if status is Status.FAILED else None)


def test_a_job_its_event_and_its_hint_are_stored_together_or_not_at_all(db: Database) -> None:
    with db.write() as s:
        info = datasets.info(datasets.get(s, "fashion-mnist-mini"))
    with pytest.raises(SpecError), db.write() as s:
        jobs.create(s, resolve({"dataset": "fashion-mnist-mini"}), info.model_copy(update={"classes": ()}))
    with db.read() as s:
        assert jobs.page(s, limit=10).data == [] and outbox.fetch_due(s, 10) == []
    job = submit(db)
    with db.read() as s:
        assert [job.row.id for job in jobs.page(s, limit=10).data] == [job.id]
        assert [hint.job_id for hint in outbox.fetch_due(s, 10)] == [job.id]


def test_the_stored_spec_is_the_resolved_one(db: Database) -> None:
    labels = {"team": "vision"}
    job = submit(db, name="clothes", labels=labels, total_steps=7, seed=2**53 + 1)
    with db.read() as s:
        stored = from_record(jobs.get(s, job.id).spec)
    assert stored.seed == 2**53 + 1 and stored.total_steps == 7
    assert stored == resolve(
        {
            "dataset": "fashion-mnist-mini",
            "name": "clothes",
            "labels": {"team": "vision"},
            "total_steps": 7,
            "seed": 2**53 + 1,
        }
    )


@pytest.mark.parametrize("job_id", ["job_01ARZ3NDEKTSV4RRFFQ69G5FAV", "nonsense", "", "job_'; drop table jobs; --"])
def test_an_unknown_id_is_not_found(db: Database, job_id: str) -> None:
    for find in (jobs.get, jobs.require_exists):
        with db.read() as s, pytest.raises(JobNotFoundError):
            find(s, job_id)


def test_pages_are_newest_first_without_gaps_or_duplicates(db: Database) -> None:
    ids = [submit(db).id for _ in range(7)]
    seen: list[str] = []
    cursor = None
    with db.read() as s:
        while True:
            page = jobs.page(s, limit=3, cursor=cursor)
            seen += [job.row.id for job in page.data]
            cursor = page.next_cursor
            if cursor is None:
                break
    assert seen == sorted(ids, reverse=True)


@pytest.mark.parametrize("cursor", ["x", "!!!", "MTI", "bnVsbA", "eyJhIjoxfQ", "\x00", *BAD_CURSORS])
def test_an_invented_cursor_is_refused(db: Database, cursor: str) -> None:
    with db.read() as s, pytest.raises(BadCursorError):
        jobs.page(s, limit=3, cursor=cursor)


def test_filters_narrow_the_list(db: Database) -> None:
    first = submit(db, labels={"team": "a.b", "x": "1"})
    second = submit(db, preset="dcgan", labels={"team": "b"})
    _start(db)
    with db.read() as s:

        def found(**filters: object) -> list[str]:
            return [job.row.id for job in jobs.page(s, limit=10, **filters).data]  # type: ignore[arg-type]

        assert found(statuses=[Status.RUNNING]) == [first.id]
        assert found(statuses=[Status.RUNNING, Status.QUEUED]) == [second.id, first.id]
        assert found(preset="dcgan") == [second.id]
        assert found(dataset="fashion-mnist") == []
        assert found(labels=[("team", "a.b")]) == [first.id]
        assert found(labels=[("team", "a.b"), ("x", "2")]) == []
        assert found(labels=[("team", "a.b"), ("team", "b")]) == [], "one key cannot have two values"


def _positions(s: Session, rows: Sequence[Job], most_gpus: int | None) -> dict[str, int]:
    return {job_id: position.ahead for job_id, position in positions.find(s, rows, most_gpus).items()}


def test_queue_positions_follow_the_order_of_claims(db: Database) -> None:
    plain, urgent, later = submit(db), submit(db, priority=3), submit(db)
    with db.read() as s:
        assert _positions(s, [urgent, plain, later], 0) == {urgent.id: 0, plain.id: 1, later.id: 2}
    started = _start(db)
    assert started.id == urgent.id
    with db.read() as s:
        assert _positions(s, [started, later], 0) == {later.id: 1}


def test_a_job_that_no_worker_can_run_delays_no_other(db: Database) -> None:
    submit(db, priority=9, resources={"gpus": 1})
    plain = submit(db)
    with db.read() as s:
        assert [_positions(s, [plain], most)[plain.id] for most in (None, 0, 1)] == [0, 0, 1]


def test_a_cursor_of_another_list_is_refused(db: Database) -> None:
    submit(db), submit(db)
    with db.read() as s:
        cursor = jobs.page(s, limit=1).next_cursor
        assert cursor is not None
        with pytest.raises(BadCursorError):
            datasets.page(s, limit=1, cursor=cursor)


def test_cancelling_a_queued_job_ends_it_at_once_and_can_be_repeated(db: Database) -> None:
    job = submit(db)
    for _ in range(2):
        with db.write() as s:
            cancelled = jobs.request_cancel(s, job.id)
        assert cancelled.status == "cancelled" and cancelled.finished_at is not None
    with db.write() as s:
        assert leases.claim(s, "w1", "cpu", 0, 30) is None


def test_cancelling_a_running_job_sets_a_flag(db: Database) -> None:
    submit(db)
    job = _start(db)
    with db.write() as s:
        running = jobs.request_cancel(s, job.id)
    assert running.status == "running" and running.cancel_requested_at is not None


def test_a_job_that_ends_before_it_reads_the_cancel_is_cancelled(db: Database) -> None:
    submit(db)
    job = _start(db)
    with db.write() as s:
        jobs.request_cancel(s, job.id)
    _end(db, job)
    with db.write() as s:
        assert jobs.request_cancel(s, job.id).status == "cancelled"


def test_cancelling_a_job_that_ended_otherwise_is_refused(db: Database) -> None:
    submit(db)
    job = _start(db)
    _end(db, job)
    with pytest.raises(InvalidTransitionError, match="Allowed actions: delete"), db.write() as s:
        jobs.request_cancel(s, job.id)


def _request(db: Database, act: Callable[[Session, str], Job], job: Job) -> Job:
    with db.write() as s:
        return act(s, job.id)


def _statuses(db: Database, job: Job) -> list[str]:
    with db.read() as s:
        return [e.data["status"] for e in events.page(s, job.id, 0, 50) if e.type == "job.status"]


def test_pausing_a_queued_job_removes_it_from_the_queue_and_can_be_repeated(db: Database) -> None:
    job = submit(db)
    for _ in range(2):
        assert _request(db, jobs.request_pause, job).status == "paused"
    with db.write() as s:
        assert leases.claim(s, "w1", "cpu", 0, 30) is None
    for _ in range(2):
        resumed = _request(db, jobs.resume, job)
        assert (resumed.status, resumed.attempt, resumed.pause_requested_at) == ("queued", 0, None)
    assert _statuses(db, job) == ["queued", "paused", "queued"]
    assert _start(db).id == job.id


def test_resuming_wakes_a_worker(db: Database) -> None:
    job = submit(db)
    _request(db, jobs.request_pause, job)
    with db.write() as s:
        s.execute(delete(Outbox))
    _request(db, jobs.resume, job)
    with db.read() as s:
        assert [hint.job_id for hint in outbox.fetch_due(s, 10)] == [job.id]


def test_pausing_a_running_job_sets_a_flag_until_its_worker_releases_it(db: Database) -> None:
    submit(db)
    job = _start(db)
    for _ in range(2):
        running = _request(db, jobs.request_pause, job)
        assert running.status == "running" and running.pause_requested_at is not None
    assert jobs.actions(running) == ["cancel", "resume"]
    with db.write() as s:
        assert leases.renew(s, job.id, 1, 30) == leases.JobRequests(pause=True)
        paused = leases.release(s, job.id, 1, crash=False, reason={"code": "stopped", "message": ""})
    assert (paused.status, paused.pause_requested_at, paused.lease_owner, paused.finished_at) == (
        "paused",
        None,
        None,
        None,
    )
    with db.read() as s:
        assert s.get_one(Attempt, (job.id, 1)).outcome == "paused"
    _request(db, jobs.resume, job)
    again = _start(db)
    assert (again.id, again.attempt, again.crashes) == (job.id, 2, 0)
    assert _statuses(db, job) == ["queued", "running", "paused", "queued", "running"]


def test_a_requested_pause_can_be_withdrawn(db: Database) -> None:
    submit(db)
    job = _start(db)
    _request(db, jobs.request_pause, job)
    for _ in range(2):
        assert _request(db, jobs.resume, job).pause_requested_at is None
    with db.write() as s:
        assert leases.renew(s, job.id, 1, 30) == leases.JobRequests()
    assert _statuses(db, job) == ["queued", "running"]


def test_a_cancel_takes_precedence_over_a_pause(db: Database) -> None:
    submit(db)
    job = _start(db)
    _request(db, jobs.request_pause, job)
    _request(db, jobs.request_cancel, job)
    for act in (jobs.request_pause, jobs.resume):
        with pytest.raises(InvalidTransitionError) as caught:
            _request(db, act, job)
        assert caught.value.allowed_actions == []
    with db.write() as s:
        ended = leases.release(s, job.id, 1, crash=False, reason={"code": "stopped", "message": ""})
    assert ended.status == "cancelled"


def test_cancelling_a_paused_job_ends_it_at_once(db: Database) -> None:
    job = submit(db)
    _request(db, jobs.request_pause, job)
    cancelled = _request(db, jobs.request_cancel, job)
    assert cancelled.status == "cancelled" and cancelled.finished_at is not None


def test_a_crash_after_a_requested_pause_pauses_the_job(db: Database) -> None:
    submit(db, max_attempts=1)
    job = _start(db)
    _request(db, jobs.request_pause, job)
    with db.write() as s:
        paused = leases.release(s, job.id, 1, crash=True, reason={"code": "crashed", "message": ""})
    assert (paused.status, paused.crashes) == ("paused", 1)


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.CANCELLED])
def test_an_ended_job_is_neither_paused_nor_resumed(db: Database, status: Status) -> None:
    job = submit(db)
    if status is Status.CANCELLED:
        _request(db, jobs.request_cancel, job)
    else:
        _end(db, _start(db), status)
    for act in (jobs.request_pause, jobs.resume):
        with pytest.raises(InvalidTransitionError) as caught:
            _request(db, act, job)
        assert caught.value.current_status == status and "delete" in caught.value.allowed_actions


@pytest.mark.parametrize("act", [jobs.request_pause, jobs.resume, jobs.request_cancel])
def test_an_action_on_an_unknown_job_is_not_found(db: Database, act: Callable[[Session, str], Job]) -> None:
    with pytest.raises(JobNotFoundError), db.write() as s:
        act(s, "job_01ARZ3NDEKTSV4RRFFQ69G5FAV")


def test_a_cancel_is_not_lost_while_a_worker_releases_the_job(db: Database, settings: Settings) -> None:
    submit(db)
    job = _start(db)
    holding, statuses = threading.Event(), []

    def release() -> None:
        with db.write() as s:
            leases.release(s, job.id, 1, crash=False, reason={"code": "drained", "message": ""})
            holding.set()
            time.sleep(0.3)  # the cancel arrives while this transaction still holds the row

    thread = threading.Thread(target=release)
    thread.start()
    assert holding.wait(60)
    # Without a timeout: on a busy machine the wait may be longer than the limit of a statement.
    patient = Database(settings.database, statement_timeout=False)
    with patient.write() as s:
        statuses.append(jobs.request_cancel(s, job.id).status)
    patient.dispose()
    thread.join()
    assert statuses == ["cancelled"]
    with db.write() as s:
        assert jobs.get(s, job.id).status == "cancelled" and leases.claim(s, "w1", "cpu", 0, 30) is None


def test_an_error_lists_the_actions_that_the_job_allows(db: Database) -> None:
    submit(db)
    job = _start(db)
    with pytest.raises(InvalidTransitionError) as caught, db.write() as s:
        jobs.delete(s, job.id)
    assert caught.value.current_status == "running" and "cancel" in caught.value.allowed_actions
    _end(db, job)
    for act in (jobs.request_cancel, jobs.request_checkpoint):
        with pytest.raises(InvalidTransitionError, match="Allowed actions: delete"), db.write() as s:
            act(s, job.id)


def test_deleting_a_job_deletes_all_rows_that_refer_to_it(db: Database) -> None:
    submit(db)
    job = _start(db)
    file = StoredFile(f"{job.id}/f", 1, "0" * 64)
    with db.write() as s:
        metrics.append(s, job.id, 1, 1, ["loss_d"], np.zeros((2, 1), np.float32))
        checkpoints.register(s, job.id, 1, 2, {}, file, file)
        evaluations.register(s, job.id, 1, 2, {"fcd": 1.0}, {}, best_so_far=True)
        previews.register(s, job.id, 1, 2, file)
    tables = (JobEvent, MetricBlock, Attempt, Checkpoint, Evaluation, Preview, Outbox)
    with db.read() as s:
        assert all(s.query(table).count() for table in tables)
    _end(db, job)
    with db.write() as s:
        jobs.delete(s, job.id)
    with db.read() as s:
        with pytest.raises(JobNotFoundError):
            jobs.get(s, job.id)
        assert [table for table in tables if s.query(table).count()] == []


def test_counts_include_every_status(db: Database) -> None:
    submit(db), submit(db)
    _start(db)
    with db.read() as s:
        counts = jobs.count_by_status(s)
    assert counts["queued"] == 1 and counts["running"] == 1 and set(counts) == {str(status) for status in Status}


def test_pages_of_several_statuses_have_no_gaps_or_duplicates(db: Database) -> None:
    ids = [submit(db).id for _ in range(9)]
    for _ in range(3):
        _start(db)
    with db.write() as s:
        jobs.request_pause(s, ids[8]), jobs.request_cancel(s, ids[5])
    statuses, seen, cursor = [Status.RUNNING, Status.QUEUED, Status.CANCELLED], [], None
    with db.read() as s:
        for _ in range(4):
            page = jobs.page(s, limit=2, cursor=cursor, statuses=statuses)
            seen += [job.row.id for job in page.data]
            cursor = page.next_cursor
    assert seen == sorted(ids[:8], reverse=True) and cursor is None
