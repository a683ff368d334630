"""Jobs as people see them: submitted, listed, asked to stop, deleted. The worker's moves are in `jobs.leases`."""

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
"""That a job waits after a crash."""

_CANCEL: Final = "job.cancel"
_PAUSE: Final = "job.pause"
_ASKED_BY: Final = {Status.CANCELLED: _CANCEL, Status.PAUSED: _PAUSE}
"""Statuses that a job comes to as somebody asks for them, and by which act."""


def create(
    s: Session, spec: TrainSpec, dataset: DatasetInfo, *, job_id: str | None = None, retry_of: str | None = None
) -> Job:
    """Store the job, its first event and the hint to a worker: one transaction, all or nothing.

    Raises `SpecError` where the spec asks of the data set what it does not have; `QuotaExceededError`, `QuotaUsedUpError`.
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
    """A job, and the ids of its last and of its best checkpoint that can be had."""

    row: Job
    last: str | None
    best: str | None


def row_versions(s: Session, job_ids: Collection[str]) -> dict[str, tuple[Any, ...]]:
    """All that is on record of those jobs that are there, not read but to be compared; its status comes first.

    As long as it is the same, a job that does not wait in the queue looks the same. One query for all.
    """
    columns = [cast(c, Text) if isinstance(c.type, JSON) else c for c in Job.__table__.columns]
    query = select(Job.id, Job.status, *_checkpoint_ids(), *columns)
    rows = s.execute(query.where(Job.id.in_([job_id for job_id in job_ids if looks_like("job", job_id)])))
    return {row[0]: tuple(row[1:]) for row in rows}


def _checkpoint_ids() -> tuple[ScalarSelect[str], ScalarSelect[str]]:
    """Of the last and of the best."""
    ready = select(Checkpoint.id).where(Checkpoint.job_id == Job.id, Checkpoint.state == "ready").correlate(Job)
    last = ready.order_by(Checkpoint.step.desc(), Checkpoint.attempt.desc()).limit(1).scalar_subquery()
    return last, ready.where(Checkpoint.is_best).scalar_subquery()


def _shown() -> Select[Job, str | None, str | None]:
    return select(Job, *_checkpoint_ids())


def fetch_details(s: Session, job_ids: Collection[str]) -> dict[str, JobDetails]:
    """Those of the jobs that are on record. One query for all."""
    rows = s.execute(_shown().where(Job.id.in_([job_id for job_id in job_ids if looks_like("job", job_id)])))
    return {row[0].id: JobDetails(*row) for row in rows}


def get(s: Session, job_id: str) -> Job:
    """Raises `JobNotFoundError`."""
    job = s.get(Job, job_id) if looks_like("job", job_id) else None
    if job is None:
        raise JobNotFoundError(job_id)
    return job


def require_exists(s: Session, job_id: str) -> None:
    """That there is such a job, without all that is known of it. Raises `JobNotFoundError`."""
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
    """Newest first, those that match every filter given. Raises `BadCursorError`."""
    fits = [] if cursor is None else [Job.id < decode(cursor, "jobs")]
    if dataset is not None:
        fits.append(Job.dataset == dataset)
    if preset is not None:
        fits.append(Job.preset == preset)
    for key, value in labels:
        fits.append(Job.labels[key].as_string() == value)
    if len(statuses) > 1:
        # The newest of each: asked for all at once, they would be sorted, however many there are.
        newest = [_newest(limit, *fits, Job.status == status.value).subquery() for status in statuses]
        fits = [Job.id.in_(union_all(*(select(ids.c.id) for ids in newest)))]
    else:
        fits += [Job.status == status.value for status in statuses]
    query = _shown().where(*fits).order_by(Job.id.desc()).limit(limit + 1)
    return cut([JobDetails(*row) for row in s.execute(query)], limit, "jobs", lambda job: job.row.id)


def _newest(limit: int, *fits: ColumnElement[bool]) -> Select[str]:
    return select(Job.id).where(*fits).order_by(Job.id.desc()).limit(limit + 1)


def request_cancel(s: Session, job_id: str) -> Job:
    """Queued or paused: cancelled at once. Running: a flag that its worker reads within a heartbeat.

    Repeating it changes nothing. Raises `JobNotFoundError`, `InvalidTransitionError` when the job has ended otherwise.
    """
    job = _locked(s, job_id)
    asked = job.status == Status.RUNNING and job.cancel_requested_at is not None
    if job.status == Status.CANCELLED or asked:
        return job
    _allow(job, Action.CANCEL)
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
    """Queued: paused at once. Running: a flag that its worker reads within a heartbeat; it saves a checkpoint first.

    Repeating it changes nothing. Raises `JobNotFoundError`, `InvalidTransitionError`, also when it is being cancelled.
    """
    job = _locked(s, job_id)
    asked = job.status == Status.RUNNING and job.pause_requested_at is not None
    if job.status == Status.PAUSED or (asked and job.cancel_requested_at is None):
        return job
    _allow(job, Action.PAUSE)
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
    """Paused: queued again, to go on from its last checkpoint. Running: a pause that is yet to come is taken back.

    Repeating it changes nothing. Raises `JobNotFoundError`, `InvalidTransitionError`.
    """
    job = _locked(s, job_id)
    if job.status in (Status.QUEUED, Status.RUNNING) and job.cancel_requested_at is None:
        if job.pause_requested_at is not None:
            acts.record(s, "job.resume", job_id)
        job.pause_requested_at = None
    else:
        _allow(job, Action.RESUME)
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
    """Ask the running trainer to save one now. Raises `JobNotFoundError`, `InvalidTransitionError`."""
    job = _locked(s, job_id)
    _allow(job, Action.SAVE_CHECKPOINT)
    acts.record(s, "job.checkpoint", job_id)
    if job.checkpoint_requested_at is None:
        job.checkpoint_requested_at = clock.read(s)
    s.flush()
    s.refresh(job)
    return job


def delete(s: Session, job_id: str) -> None:
    """Drop the record of a job that has ended; the caller then drops its files.

    Raises `JobNotFoundError`, `InvalidTransitionError`.
    """
    job = _locked(s, job_id)
    _allow(job, Action.DELETE)
    acts.record(s, "job.delete", job_id, status=job.status)
    s.execute(sql_delete(Job).where(Job.id == job_id))
    s.expunge(job)


def count_by_status(s: Session) -> dict[str, int]:
    """How many jobs stand where; every status is there."""
    rows = dict(iter(s.execute(select(Job.status, func.count()).group_by(Job.status))))
    return {status.value: rows.get(status.value, 0) for status in Status}


def all_ids(s: Session) -> set[str]:
    """Of every job on record."""
    return set(s.scalars(select(Job.id)))


def existing_ids(s: Session, job_ids: Collection[str]) -> set[str]:
    """Those of the jobs that are on record."""
    return set(s.scalars(select(Job.id).where(Job.id.in_(job_ids))))


def claimable_now() -> ColumnElement[bool]:
    """That a queued job's pause after a crash is over; or cannot be true, as a clock has been set back since."""
    return or_(Job.not_before <= clock.now(), Job.not_before > clock.now() + LONGEST_BACKOFF_SECONDS)


def add_hint(s: Session, job_id: str, *, send_after: float | Any) -> None:
    """Put a wake-up call for some worker into the outbox, to be sent from `send_after` on."""
    s.add(Outbox(job_id=job_id, send_after=send_after, created_at=clock.read(s)))


def record_status(s: Session, job: Job) -> None:
    """The event of the move that this transaction made."""
    data: dict[str, Any] = {"status": job.status}
    if job.status_reason:
        data["reason"] = job.status_reason
    if job.error:
        data["error"] = job.error
    # Of a job that ran, the worker writes it, long after somebody has asked for it.
    asked = _ASKED_BY.get(Status(job.status))
    who = None if asked is None else acts.last_actor(s, job.id, asked)
    ends = job.status in TERMINAL
    events.record(s, job.id, "job.status", data, attempt=job.attempt, ends_job=ends, actor=who)


def lock(s: Session, *guards: ColumnElement[bool]) -> Job | None:
    """The job that meets all of `guards`, as it is and as it stays until this transaction ends; None: there is none.

    Every move goes through this row lock, a person's and a worker's alike, so that one waits for the other.
    """
    return s.scalars(
        update(Job)
        .where(*guards)
        .values(attempt=Job.attempt)
        .returning(Job)
        .execution_options(populate_existing=True)
    ).one_or_none()


def _locked(s: Session, job_id: str) -> Job:
    """Raises `JobNotFoundError`."""
    job = lock(s, Job.id == job_id) if looks_like("job", job_id) else None
    if job is None:
        raise JobNotFoundError(job_id)
    return job


def actions(job: Job) -> list[str]:
    """What may be asked of it as it stands."""
    cancelling, pausing = job.cancel_requested_at is not None, job.pause_requested_at is not None
    return allowed_actions(Status(job.status), cancelling=cancelling, pausing=pausing)


def _allow(job: Job, action: Action) -> None:
    """Raises `InvalidTransitionError`."""
    status = Status(job.status)
    leaving = status is Status.RUNNING and job.cancel_requested_at is not None
    if status not in ACTIONS[action] or (leaving and action is not Action.SAVE_CHECKPOINT):
        raise InvalidTransitionError(action.value, status.value, actions(job))
