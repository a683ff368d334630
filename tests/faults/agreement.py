"""The record held against the model, and its clock moved: what the state machine reads and bends of the tables."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from sqlalchemy import select, update

from jobs import clock
from jobs.db import Session
from jobs.models import Attempt, JobEvent, Outbox, Worker
from jobs.models import Job as Row
from jobs.status import TERMINAL, TRANSITIONS, Status
from jobs.store import checkpoints, jobs, metrics
from tests.faults.model import PAUSE, ModelJob

SLACK: Final = 40.0
"""What a run of the machine may itself take, s."""


def stretch(s: Session, job: ModelJob) -> None:
    """Its pause after a crash is seconds; make it one that no test sees the end of by itself."""
    row, now = jobs.get(s, job.id), clock.read(s)
    assert now - SLACK < row.not_before <= now + jobs.LONGEST_BACKOFF_SECONDS
    s.execute(update(Outbox).where(Outbox.send_after == row.not_before).values(send_after=now + PAUSE))
    row.not_before = now + PAUSE


def move(s: Session, seconds: float) -> None:
    """Every time that the record compares with the clock; what has ended stays as it is."""
    times = ("lease_until", "heartbeat_at", "claimed_at", "not_before", "published_at", "created_at", "progress_at")
    columns = {name: getattr(Row, name) - seconds for name in times}
    s.execute(update(Row).where(Row.status.not_in([status.value for status in TERMINAL])).values(columns))
    s.execute(update(Outbox).values(send_after=Outbox.send_after - seconds))
    s.execute(update(Worker).values(heartbeat_at=Worker.heartbeat_at - seconds))


def check_row(row: Row, job: ModelJob) -> None:
    found = (row.status, row.attempt, row.crashes, row.step)
    assert found == (job.status, job.attempt, job.crashes, job.step)
    flags = (row.cancel_requested_at, row.pause_requested_at, row.checkpoint_requested_at)
    assert [flag is not None for flag in flags] == [job.cancel, job.pause, job.save]
    running = job.status is Status.RUNNING
    assert (row.lease_until is not None) == running and (not running or row.lease_owner == job.holder)
    assert (row.finished_at is not None) == (job.status in TERMINAL)
    assert abs(row.ran_seconds - job.ran) < SLACK


def check_curve(s: Session, job: ModelJob) -> None:
    curve = metrics.series(s, job.id, ["loss_d"])["loss_d"]
    assert curve.steps.tolist() == list(range(1, len(job.curve) + 1)), "neither a gap nor a doubled step"
    assert curve.values.tolist() == job.curve, "and of each step the value that counts"
    assert [c.step for c in checkpoints.page(s, job.id, limit=10).data] == sorted(job.saved, reverse=True)


def check_events(s: Session, row: Row, job: ModelJob) -> None:
    happened = list(s.scalars(select(JobEvent).where(JobEvent.job_id == job.id).order_by(JobEvent.seq)))
    assert [event.seq for event in happened] == list(range(1, row.event_seq + 1))
    path = [Status(event.data["status"]) for event in happened if event.type == "job.status"]
    assert path == job.path and all(after in TRANSITIONS[before] for before, after in pairwise(path))
    ends = [event for event in happened if event.ends_job]
    assert ends == (happened[-1:] if job.status in TERMINAL else []), "one end, and nothing after it"


def check_attempts(s: Session, job: ModelJob) -> None:
    found = list(s.scalars(select(Attempt).where(Attempt.job_id == job.id).order_by(Attempt.attempt)))
    assert [attempt.attempt for attempt in found] == list(range(1, job.attempt + 1))
    still_open = [attempt.attempt for attempt in found if attempt.ended_at is None]
    assert still_open == ([job.attempt] if job.status is Status.RUNNING else [])
