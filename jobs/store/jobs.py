"""Jobs as callers see them: submitted, listed, cancelled, paused, deleted. Workers use `jobs.leases` instead."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import JSON, ScalarSelect, Select, Text, cast, func, or_, select, union_all, update
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from gan.spec import DatasetInfo, TrainSpec, check_against
from jobs import clock, tenancy
from jobs.errors import InvalidTransitionError, JobNotFoundError
from jobs.ids import looks_like, new_id
from jobs.models import Checkpoint, Job, Outbox
from jobs.status import ACTIONS, TERMINAL, Action, Status, allowed_actions
from jobs.store import events
from jobs.store.callers import acts, tenants
from jobs.store.pages import Page, cut, decode

LONGEST_BACKOFF_SECONDS: Final = 60
"""The longest delay of a job after a crash."""

_CANCEL: Final = "job.cancel"
_PAUSE: Final = "job.pause"
_REQUESTED_BY: Final = {Status.CANCELLED: _CANCEL, Status.PAUSED: _PAUSE}
"""Statuses that a caller can request, and the act that does it."""


def create(
    s: Session, spec: TrainSpec, dataset: DatasetInfo, *, job_id: str | None = None, retry_of: str | None = None
) -> Job:
    """Store the job, its first event and the hint to a worker in one transaction.

    Raises `SpecError` if the data set does not support the spec; `QuotaExceededError`, `QuotaUsedUpError`.
    """
    check_against(spec, dataset)
    tenants.admit_job(s, tenancy.tenant_of(s))
    moment = clock.read(s)
    job = Job(
        id=job_id or new_id("job"),
        tenant=tenancy.tenant_of(s),
        name=spec.name,
        labels=dict(spec.labels),
        spec=spec.model_dump(mode="json"),
        dataset=dataset.name,
        preset=spec.preset,
        gpus=spec.resources.gpus,
        priority=spec.priority,
        max_attempts=spec.max_attempts,
        max_runtime_seconds=spec.max_runtime_seconds,
        retry_of=retry_of,
        status=Status.QUEUED.value,
        total_steps=spec.total_steps,
        latest_metrics={},
        created_at=moment,
    )
    s.add(job)
    s.flush()
    if retry_of is None:
        acts.record(s, "job.submit", job.id)
    else:
        acts.record(s, "job.retry", job.id, retry_of=retry_of)
    record_status(s, job)
    add_hint(s, job.id, send_after=moment)
    s.refresh(job)
    return job


@dataclass(frozen=True)
class JobDetails:
    """A job, the ids of its last and of its best ready checkpoint, and how long its worker has been silent."""

    row: Job
    last: str | None
    best: str | None
    heartbeat_age: float | None
    """The seconds since the last heartbeat of the job's worker; None without one."""


def row_versions(s: Session, job_ids: Collection[str]) -> dict[str, tuple[Any, ...]]:
    """Return all columns of those jobs that exist, as values to compare, with the status first.

    As long as this value is the same, a job that is not queued looks the same. One query serves all jobs.
    """
    columns = [cast(c, Text) if isinstance(c.type, JSON) else c for c in Job.__table__.columns]
    query = select(Job.id, Job.status, *_checkpoint_ids(), *columns)
    rows = s.execute(query.where(Job.id.in_([job_id for job_id in job_ids if looks_like("job", job_id)])))
    return {row[0]: tuple(row[1:]) for row in rows}


def _checkpoint_ids() -> tuple[ScalarSelect[str], ScalarSelect[str]]:
    """Return subqueries for the ids of a job's last and best checkpoint."""
    ready = select(Checkpoint.id).where(Checkpoint.job_id == Job.id, Checkpoint.state == "ready").correlate(Job)
    last = ready.order_by(Checkpoint.step.desc(), Checkpoint.attempt.desc()).limit(1).scalar_subquery()
    return last, ready.where(Checkpoint.is_best).scalar_subquery()


def _details() -> Select[Job, str | None, str | None, float | None]:
    return select(Job, *_checkpoint_ids(), clock.now() - Job.heartbeat_at)


def fetch_details(s: Session, job_ids: Collection[str]) -> dict[str, JobDetails]:
    """Return those of the jobs that exist, by id, with one query for all."""
    rows = s.execute(_details().where(Job.id.in_([job_id for job_id in job_ids if looks_like("job", job_id)])))
    return {row[0].id: JobDetails(*row) for row in rows}


def get(s: Session, job_id: str) -> Job:
    """Return a job. Raises `JobNotFoundError`."""
    job = s.get(Job, job_id) if looks_like("job", job_id) else None
    if job is None:
        raise JobNotFoundError(job_id)
    return job


def require_exists(s: Session, job_id: str) -> None:
    """Raise `JobNotFoundError` if there is no such job, without reading its columns."""
    if not looks_like("job", job_id) or s.scalar(select(Job.id).where(Job.id == job_id)) is None:
        raise JobNotFoundError(job_id)


def page(
    s: Session,
    *,
    limit: int,
    cursor: str | None = None,
    statuses: Collection[Status] = (),
    dataset: str | None = None,
    preset: str | None = None,
    labels: Iterable[tuple[str, str]] = (),
) -> Page[JobDetails]:
    """Return a page of the jobs that match every filter, newest first. Raises `BadCursorError`."""
    conditions = [] if cursor is None else [Job.id < decode(cursor, "jobs")]
    if dataset is not None:
        conditions.append(Job.dataset == dataset)
    if preset is not None:
        conditions.append(Job.preset == preset)
    for key, value in labels:
        conditions.append(Job.labels[key].as_string() == value)
    if len(statuses) > 1:
        # Take the newest of each status first. One query for all statuses would sort every job that matches.
        newest = [_newest(limit, *conditions, Job.status == status.value).subquery() for status in statuses]
        conditions = [Job.id.in_(union_all(*(select(ids.c.id) for ids in newest)))]
    else:
        conditions += [Job.status == status.value for status in statuses]
    query = _details().where(*conditions).order_by(Job.id.desc()).limit(limit + 1)
    return cut([JobDetails(*row) for row in s.execute(query)], limit, "jobs", lambda job: job.row.id)


def _newest(limit: int, *conditions: ColumnElement[bool]) -> Select[str]:
    return select(Job.id).where(*conditions).order_by(Job.id.desc()).limit(limit + 1)


def request_cancel(s: Session, job_id: str) -> Job:
    """Cancel a queued or paused job at once. For a running job, set a flag that its worker reads within a heartbeat.

    Repeating it changes nothing. Raises `JobNotFoundError`, `InvalidTransitionError` when the job has ended
    otherwise.
    """
    job = _locked(s, job_id)
    requested = job.status == Status.RUNNING and job.cancel_requested_at is not None
    if job.status == Status.CANCELLED or requested:
        return job
    _require_allowed(job, Action.CANCEL)
    acts.record(s, _CANCEL, job_id)
    job.cancel_requested_at = clock.read(s)
    if job.status != Status.RUNNING:
        job.status, job.status_reason, job.finished_at = Status.CANCELLED.value, None, job.cancel_requested_at
        s.flush()
        record_status(s, job)
    s.flush()
    s.refresh(job)
    return job


def request_pause(s: Session, job_id: str) -> Job:
    """Pause a queued job at once. For a running job, set a flag that its worker reads within a heartbeat.

    The worker saves a checkpoint before it stops. Repeating the request changes nothing. Raises `JobNotFoundError`,
    `InvalidTransitionError`, also when a cancel was requested.
    """
    job = _locked(s, job_id)
    requested = job.status == Status.RUNNING and job.pause_requested_at is not None
    if job.status == Status.PAUSED or (requested and job.cancel_requested_at is None):
        return job
    _require_allowed(job, Action.PAUSE)
    acts.record(s, _PAUSE, job_id)
    if job.status == Status.RUNNING:
        job.pause_requested_at = clock.read(s)
    else:
        job.status, job.status_reason = Status.PAUSED.value, None
        s.flush()
        record_status(s, job)
    s.flush()
    s.refresh(job)
    return job


def resume(s: Session, job_id: str) -> Job:
    """Queue a paused job again, to resume from its last checkpoint. For a running job, withdraw a requested pause.

    Repeating it changes nothing. Raises `JobNotFoundError`, `InvalidTransitionError`.
    """
    job = _locked(s, job_id)
    if job.status in (Status.QUEUED, Status.RUNNING) and job.cancel_requested_at is None:
        if job.pause_requested_at is not None:
            acts.record(s, "job.resume", job_id)
        job.pause_requested_at = None
    else:
        _require_allowed(job, Action.RESUME)
        acts.record(s, "job.resume", job_id)
        moment = clock.read(s)
        job.status, job.status_reason, job.not_before, job.published_at = Status.QUEUED.value, None, moment, None
        s.flush()
        record_status(s, job)
        add_hint(s, job.id, send_after=moment)
    s.flush()
    s.refresh(job)
    return job


def request_checkpoint(s: Session, job_id: str) -> Job:
    """Ask the running trainer to save a checkpoint now. Raises `JobNotFoundError`, `InvalidTransitionError`."""
    job = _locked(s, job_id)
    _require_allowed(job, Action.SAVE_CHECKPOINT)
    acts.record(s, "job.checkpoint", job_id)
    if job.checkpoint_requested_at is None:
        job.checkpoint_requested_at = clock.read(s)
    s.flush()
    s.refresh(job)
    return job


def delete(s: Session, job_id: str) -> None:
    """Delete the row of a job that has ended. The caller then deletes its files.

    Raises `JobNotFoundError`, `InvalidTransitionError`.
    """
    job = _locked(s, job_id)
    _require_allowed(job, Action.DELETE)
    acts.record(s, "job.delete", job_id, status=job.status)
    s.execute(sql_delete(Job).where(Job.id == job_id))
    s.expunge(job)


def count_by_status(s: Session) -> dict[str, int]:
    """Return the number of jobs of each status, including zeros."""
    rows = dict(iter(s.execute(select(Job.status, func.count()).group_by(Job.status))))
    return {status.value: rows.get(status.value, 0) for status in Status}


def all_ids(s: Session) -> set[str]:
    """Return the ids of all jobs."""
    return set(s.scalars(select(Job.id)))


def existing_ids(s: Session, job_ids: Collection[str]) -> set[str]:
    """Return those of the ids whose job exists."""
    return set(s.scalars(select(Job.id).where(Job.id.in_(job_ids))))


def claimable_now() -> ColumnElement[bool]:
    """Return the condition that the delay of a queued job is over.

    It is also met if the delay would be longer than the longest one: then the database's clock has been set back
    since.
    """
    return or_(Job.not_before <= clock.now(), Job.not_before > clock.now() + LONGEST_BACKOFF_SECONDS)


def add_hint(s: Session, job_id: str, *, send_after: float | Any) -> None:
    """Put a hint, which wakes a worker, into the outbox. It is sent from `send_after` on."""
    s.add(Outbox(job_id=job_id, send_after=send_after, created_at=clock.read(s)))


def record_status(s: Session, job: Job) -> None:
    """Write the event for the status change of this transaction."""
    data: dict[str, Any] = {"status": job.status}
    if job.status_reason:
        data["reason"] = job.status_reason
    if job.error:
        data["error"] = job.error
    # For a running job the worker writes this event, long after a caller requested it.
    action = _REQUESTED_BY.get(Status(job.status))
    requester = None if action is None else acts.last_actor(s, job.id, action)
    ends = job.status in TERMINAL
    events.record(s, job.id, "job.status", data, attempt=job.attempt, ends_job=ends, actor=requester)


def lock(s: Session, *guards: ColumnElement[bool]) -> Job | None:
    """Lock and return the job that meets all of `guards`, until this transaction ends; None: there is none.

    Every status change takes this row lock, that of a caller and that of a worker alike, so that one waits for the
    other.
    """
    return s.scalars(
        update(Job)
        .where(*guards)
        .values(attempt=Job.attempt)
        .returning(Job)
        .execution_options(populate_existing=True)
    ).one_or_none()


def _locked(s: Session, job_id: str) -> Job:
    """Lock and return a job. Raises `JobNotFoundError`."""
    job = lock(s, Job.id == job_id) if looks_like("job", job_id) else None
    if job is None:
        raise JobNotFoundError(job_id)
    return job


def actions(job: Job) -> list[str]:
    """Return the actions that the job allows in its present state."""
    cancelling, pausing = job.cancel_requested_at is not None, job.pause_requested_at is not None
    return allowed_actions(Status(job.status), cancelling=cancelling, pausing=pausing)


def _require_allowed(job: Job, action: Action) -> None:
    """Raise `InvalidTransitionError` if the job does not allow the action."""
    status = Status(job.status)
    cancelling = status is Status.RUNNING and job.cancel_requested_at is not None
    if status not in ACTIONS[action] or (cancelling and action is not Action.SAVE_CHECKPOINT):
        raise InvalidTransitionError(action.value, status.value, actions(job))
