"""Checks of the tables against the model, and functions that change the stored times."""

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
from tests.faults.model import BACKOFF, ModelJob

SLACK: Final = 40.0
"""The tolerance of times, s: longer than one run of the state machine."""


def lengthen_backoff(s: Session, job: ModelJob) -> None:
    """Lengthen the backoff after a crash from seconds to `BACKOFF`, so that no test sees it end by itself."""
    row, now = jobs.get(s, job.id), clock.read(s)
    assert now - SLACK < row.not_before <= now + jobs.LONGEST_BACKOFF_SECONDS
    s.execute(update(Outbox).where(Outbox.send_after == row.not_before).values(send_after=now + BACKOFF))
    row.not_before = now + BACKOFF


def age_records(s: Session, seconds: float) -> None:
    """Move every stored time `seconds` into the past; ended jobs stay as they are."""
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
    assert curve.steps.tolist() == list(range(1, len(job.curve) + 1)), "no step is missing or doubled"
    assert curve.values.tolist() == job.curve, "each step has the value of the attempt that counts"
    assert [c.step for c in checkpoints.page(s, job.id, limit=10).data] == sorted(job.saved, reverse=True)


def check_events(s: Session, row: Row, job: ModelJob) -> None:
    recorded = list(s.scalars(select(JobEvent).where(JobEvent.job_id == job.id).order_by(JobEvent.seq)))
    assert [event.seq for event in recorded] == list(range(1, row.event_seq + 1))
    path = [Status(event.data["status"]) for event in recorded if event.type == "job.status"]
    assert path == job.path and all(after in TRANSITIONS[before] for before, after in pairwise(path))
    ends = [event for event in recorded if event.ends_job]
    assert ends == (recorded[-1:] if job.status in TERMINAL else []), "one final event, and none after it"


def check_attempts(s: Session, job: ModelJob) -> None:
    found = list(s.scalars(select(Attempt).where(Attempt.job_id == job.id).order_by(Attempt.attempt)))
    assert [attempt.attempt for attempt in found] == list(range(1, job.attempt + 1))
    still_open = [attempt.attempt for attempt in found if attempt.ended_at is None]
    assert still_open == ([job.attempt] if job.status is Status.RUNNING else [])
