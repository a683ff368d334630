"""Tests of the audit log: acts are recorded with what they did, and never changed."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from jobs import leases
from jobs.db import Database
from jobs.errors import BadCursorError, InvalidTransitionError
from jobs.models import Act
from jobs.store import events, jobs
from jobs.store.callers import acts, tenants
from tests.jobs.helpers import submit


def recorded(db: Database, **filters: str) -> list[tuple[str, str, str]]:
    """Return (actor, action, subject) of the acts, oldest first."""
    with db.read() as s:
        return [(row.actor, row.action, row.subject) for row in acts.page(s, limit=100, **filters).data][::-1]


def test_an_act_is_recorded_in_the_transaction_that_carries_it_out(db: Database) -> None:
    job = submit(db)
    with pytest.raises(RuntimeError), db.write() as s:
        acts.set_actor(s, "key_a", "req-1")
        jobs.request_cancel(s, job.id)
        raise RuntimeError
    assert recorded(db) == []
    with db.write() as s:
        acts.set_actor(s, "key_a", "req-2")
        jobs.request_cancel(s, job.id)
    assert recorded(db) == [("key_a", "job.cancel", job.id)]
    with db.read() as s:
        (row,) = acts.page(s, limit=5).data
        last = events.page(s, job.id, 0, 10)[-1]
    assert (row.request_id, row.tenant, row.at > 0) == ("req-2", "default", True)
    assert (last.data["status"], last.actor) == ("cancelled", "key_a")


def test_a_refused_or_repeated_request_is_not_recorded(db: Database) -> None:
    job = submit(db)
    for _ in range(2):
        with db.write() as s:
            acts.set_actor(s, "key_a")
            jobs.request_cancel(s, job.id)
    with pytest.raises(InvalidTransitionError), db.write() as s:
        acts.set_actor(s, "key_a")
        jobs.request_pause(s, job.id)
    assert recorded(db) == [("key_a", "job.cancel", job.id)]


def test_the_service_itself_records_no_acts(db: Database) -> None:
    job = submit(db)
    with db.write() as s:
        leases.claim(s, "w", "cpu", 0, 60)
        leases.release(s, job.id, 1, crash=False, reason={"code": "drained", "message": ""})
    assert recorded(db) == []
    with db.read() as s:
        assert {event.actor for event in events.page(s, job.id, 0, 10)} == {None}


def test_the_event_of_a_running_jobs_end_names_the_requester(db: Database) -> None:
    paused, cancelled = submit(db), submit(db)
    with db.write() as s:
        assert all(leases.claim(s, "w", "cpu", 0, 60) for _ in range(2))
    with db.write() as s:
        acts.set_actor(s, "key_p")
        jobs.request_pause(s, paused.id)
    with db.write() as s:
        acts.set_actor(s, "key_c")
        jobs.request_cancel(s, cancelled.id)
    for job in (paused, cancelled):
        with db.write() as s:
            leases.release(s, job.id, 1, crash=False, reason={"code": "stopped", "message": "As asked."})
    with db.read() as s:
        ends = [events.page(s, job.id, 0, 10)[-1] for job in (paused, cancelled)]
    assert [(e.data["status"], e.actor) for e in ends] == [("paused", "key_p"), ("cancelled", "key_c")]
    with db.write() as s:
        acts.set_actor(s, "key_r")
        assert events.page(s, jobs.resume(s, paused.id).id, 0, 10)[-1].actor == "key_r"


def test_acts_outlive_the_job(db: Database) -> None:
    with db.write() as s:
        acts.set_actor(s, "key_a")
    job = submit(db)
    with db.write() as s:
        acts.set_actor(s, "key_a")
        jobs.request_cancel(s, job.id)
        jobs.delete(s, job.id)
    assert recorded(db, subject=job.id) == [("key_a", action, job.id) for action in ("job.cancel", "job.delete")]


def test_acts_cannot_be_changed_or_deleted(db: Database) -> None:
    with db.write() as s:
        acts.set_actor(s, "key_a")
        acts.record(s, "job.submit", "job_1")
    for change in (update(Act).values(actor="key_b"), delete(Act), text("delete from acts")):
        with pytest.raises((IntegrityError, DBAPIError), match="never changed or removed"), db.write() as s:
            s.execute(change)
    assert recorded(db) == [("key_a", "job.submit", "job_1")]


def test_acts_are_filtered_by_subject_actor_and_tenant(db: Database) -> None:
    with db.write() as s:
        tenants.get_or_create(s, "theirs")
    for number in range(6):
        with db.write("theirs" if number % 2 else None) as s:
            acts.set_actor(s, f"key_{number % 3}")
            acts.record(s, "job.submit", f"job_{number}", colour="red")
    assert [row[2] for row in recorded(db, tenant="theirs")] == ["job_1", "job_3", "job_5"]
    assert [row[2] for row in recorded(db, actor="key_1")] == ["job_1", "job_4"]
    assert [row[2] for row in recorded(db, actor="key_1", tenant="theirs")] == ["job_1"]
    with db.read() as s:
        first = acts.page(s, limit=4)
        rest = acts.page(s, limit=4, cursor=first.next_cursor)
    assert [row.subject for row in [*first.data, *rest.data]] == [f"job_{n}" for n in range(5, -1, -1)]
    assert rest.next_cursor is None and rest.data[0].detail == {"colour": "red"}
    with db.read("theirs") as s:
        assert {row.tenant for row in acts.page(s, limit=9).data} == {"theirs"}
    with pytest.raises(BadCursorError), db.read() as s:
        acts.page(s, limit=4, cursor="WyJhY3RzIiwgIngiXQ")
