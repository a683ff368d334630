"""Submitting, listing, cancelling and deleting, on both databases."""

from __future__ import annotations

import json

import pytest

from gan.spec import SpecError, TrainSpec, resolve
from jobs import leases
from jobs.db import Database
from jobs.errors import BadCursor, InvalidTransition, JobNotFound
from jobs.models import Job, JobEvent, MetricBlock
from jobs.status import Status
from jobs.store import datasets, jobs, outbox
from tests.jobs.helpers import submit


def _start(db: Database) -> Job:
    with db.write() as s:
        job = leases.claim(s, "w1", "cpu", 0, 30)
    assert job is not None
    return job


def _end(db: Database, job: Job, status: Status = Status.SUCCEEDED) -> None:
    with db.write() as s:
        leases.finish(s, job.id, job.attempt, status)


def test_a_job_its_event_and_its_hint_are_stored_together_or_not_at_all(db: Database) -> None:
    with db.write() as s:
        info = datasets.info(datasets.get(s, "fashion-mnist-mini"))
    with pytest.raises(SpecError), db.write() as s:
        jobs.create(s, resolve({"dataset": "fashion-mnist-mini"}), info.model_copy(update={"classes": ()}))
    with db.read() as s:
        assert jobs.page(s, limit=10).data == [] and outbox.due(s, 10) == []
    job = submit(db)
    with db.read() as s:
        assert [row.id for row in jobs.page(s, limit=10).data] == [job.id]
        assert [hint.job_id for hint in outbox.due(s, 10)] == [job.id]


def test_the_spec_comes_back_as_it_was_resolved(db: Database) -> None:
    body = {"name": "clothes", "labels": {"team": "vision"}, "total_steps": 7, "seed": 2**53 + 1}
    job = submit(db, **body)
    with db.read() as s:
        stored = TrainSpec.model_validate_json(json.dumps(jobs.get(s, job.id).spec))
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
    with db.read() as s, pytest.raises(JobNotFound):
        jobs.get(s, job_id)


def test_pages_are_newest_first_and_join_without_gap_or_double(db: Database) -> None:
    ids = [submit(db).id for _ in range(7)]
    seen: list[str] = []
    cursor = None
    with db.read() as s:
        while True:
            page = jobs.page(s, limit=3, cursor=cursor)
            seen += [row.id for row in page.data]
            cursor = page.next_cursor
            if cursor is None:
                break
    assert seen == sorted(ids, reverse=True)


@pytest.mark.parametrize("cursor", ["x", "!!!", "MTI", "bnVsbA", "eyJhIjoxfQ", "\x00"])
def test_a_cursor_that_nobody_gave_is_refused(db: Database, cursor: str) -> None:
    with db.read() as s, pytest.raises(BadCursor):
        jobs.page(s, limit=3, cursor=cursor)


def test_filters_narrow_the_list(db: Database) -> None:
    first = submit(db, labels={"team": "a.b", "x": "1"})
    second = submit(db, preset="dcgan", labels={"team": "b"})
    _start(db)
    with db.read() as s:

        def found(**filters: object) -> list[str]:
            return [row.id for row in jobs.page(s, limit=10, **filters).data]  # type: ignore[arg-type]

        assert found(statuses=[Status.RUNNING]) == [first.id]
        assert found(statuses=[Status.RUNNING, Status.QUEUED]) == [second.id, first.id]
        assert found(preset="dcgan") == [second.id]
        assert found(dataset="fashion-mnist") == []
        assert found(labels=[("team", "a.b")]) == [first.id]
        assert found(labels=[("team", "a.b"), ("x", "2")]) == []
        assert found(labels=[("team", "a.b"), ("team", "b")]) == [], "nothing is both"


def test_the_place_in_the_queue_is_the_order_of_claims(db: Database) -> None:
    plain, urgent, later = submit(db), submit(db, priority=3), submit(db)
    with db.read() as s:
        assert [jobs.jobs_ahead(s, job, 0) for job in (urgent, plain, later)] == [0, 1, 2]
    started = _start(db)
    assert started.id == urgent.id
    with db.read() as s:
        assert jobs.jobs_ahead(s, started, 0) is None and jobs.jobs_ahead(s, later, 0) == 1


def test_a_job_that_nobody_can_run_delays_nobody(db: Database) -> None:
    submit(db, priority=9, resources={"gpus": 1})
    plain = submit(db)
    with db.read() as s:
        assert jobs.jobs_ahead(s, plain, most_gpus=0) == jobs.jobs_ahead(s, plain, most_gpus=None) == 0
        assert jobs.jobs_ahead(s, plain, most_gpus=1) == 1


def test_a_cursor_of_another_list_is_refused(db: Database) -> None:
    submit(db), submit(db)
    with db.read() as s:
        cursor = jobs.page(s, limit=1).next_cursor
        assert cursor is not None
        with pytest.raises(BadCursor):
            datasets.page(s, limit=1, cursor=cursor)


def test_cancelling_a_queued_job_ends_it_at_once_and_again_changes_nothing(db: Database) -> None:
    job = submit(db)
    for _ in range(2):
        with db.write() as s:
            cancelled = jobs.request_cancel(s, job.id)
        assert cancelled.status == "cancelled" and cancelled.finished_at is not None
    with db.write() as s:
        assert leases.claim(s, "w1", "cpu", 0, 30) is None


def test_cancelling_a_running_job_is_a_flag(db: Database) -> None:
    submit(db)
    job = _start(db)
    with db.write() as s:
        asked = jobs.request_cancel(s, job.id)
    assert asked.status == "running" and asked.cancel_requested_at is not None


def test_what_an_ended_job_cannot_take_is_said_with_what_it_can(db: Database) -> None:
    submit(db)
    job = _start(db)
    with pytest.raises(InvalidTransition) as caught, db.write() as s:
        jobs.delete(s, job.id)
    assert caught.value.current_status == "running" and "cancel" in caught.value.allowed_actions
    _end(db, job)
    for act in (jobs.request_cancel, jobs.request_checkpoint):
        with pytest.raises(InvalidTransition, match="it can take delete"), db.write() as s:
            act(s, job.id)


def test_deleting_takes_everything_that_hangs_on_the_job(db: Database) -> None:
    submit(db)
    job = _start(db)
    _end(db, job)
    with db.write() as s:
        jobs.delete(s, job.id)
    with db.read() as s:
        with pytest.raises(JobNotFound):
            jobs.get(s, job.id)
        for table in (JobEvent, MetricBlock):
            assert s.query(table).count() == 0


def test_counts_name_every_status(db: Database) -> None:
    submit(db), submit(db)
    _start(db)
    with db.read() as s:
        counts = jobs.counts(s)
    assert counts["queued"] == 1 and counts["running"] == 1 and set(counts) == {str(status) for status in Status}
