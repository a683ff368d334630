"""A worker's lease on a job: claimed, renewed, written under, given up. Each step is one guarded UPDATE.

The attempt number is the fencing token (Kleppmann 2016, "How to do distributed locking"). Every claim raises it.
Every write of an attempt first takes the job's row lock under the guard "running, and still this attempt". The check
and the write share one transaction, so a stale worker can write nothing, however late it wakes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ScalarSelect, func, or_, select, union_all, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from jobs import clock
from jobs.errors import FencedError
from jobs.models import Attempt, Job, has_status
from jobs.runtime import failpoints
from jobs.status import TERMINAL, TRANSITIONS, Status
from jobs.store import attempts, events, jobs, queue, workers
from jobs.store.callers import tenants

HOLD_SHARE: Final = 0.8
"""The share of a lease after which an attempt that could not renew it must end itself, before another can claim the
job."""


def silent_seconds(job: Job) -> float:
    """Return the seconds without a heartbeat after which the worker of a running job counts as silent.

    A worker sends one every second, or four times per lease. A silent worker may be dead, long before its lease has
    expired.
    """
    assert job.lease_until is not None and job.heartbeat_at is not None
    ttl = job.lease_until - job.heartbeat_at
    return max(ttl / 4, min(4.0, ttl))


@dataclass(frozen=True)
class JobRequests:
    """What callers or limits ask of a running job."""

    cancel: bool = False
    pause: bool = False
    checkpoint: bool = False
    overdue: bool = False
    """The job has reached its max_runtime_seconds."""

    @property
    def stop(self) -> bool:
        """Whether the attempt must save a checkpoint and end."""
        return self.cancel or self.pause or self.overdue


def claim(s: Session, worker_id: str, device: str, gpus: int, ttl: float) -> Job | None:
    """Claim the next job for a worker with `gpus` GPUs; None if there is none.

    The tenant that is next in the serving order goes first. Among its jobs the one with the highest priority is
    chosen, then the oldest. `ttl` is the length of the lease, s.
    """
    # First only tenants that no other worker serves at this moment. If all are being served, wait for nobody's turn.
    job = _claim_first(s, worker_id, device, gpus, ttl, skip_served=True)
    job = job or _claim_first(s, worker_id, device, gpus, ttl, skip_served=False)
    if job is not None:
        _open_attempt(s, job, worker_id, device)
        failpoints.passed("claim.before_commit")
    return job


def _claim_first(s: Session, worker_id: str, device: str, gpus: int, ttl: float, *, skip_served: bool) -> Job | None:
    """Claim a job of the first tenant in serving order that has one to give."""
    tried = 0
    while turns := queue.serving_order(s, gpus, tried):
        tried += len(turns)
        while turns:
            with s.begin_nested() as attempt:
                turn = queue.lock_next(s, turns) if skip_served else turns[0]
                if turn is None:
                    break
                job = _take(s, turn.tenant, worker_id, device, gpus, ttl) if queue.may_run_more(s, turn) else None
                if job is not None:
                    queue.record_turn(s, turn)
                    return job
                # Other workers have just claimed all that the tenant may run. Unlock it: two workers that wait for
                # tenants must never wait for each other.
                attempt.rollback()
            turns = turns[turns.index(turn) + 1 :]
    return None


def _take(s: Session, tenant: str, worker_id: str, device: str, gpus: int, ttl: float) -> Job | None:
    # The subquery holds the lock on a queued job. A second condition on the status would let PostgreSQL choose an
    # index of queued jobs, which it reads as a whole where its statistics say that the queue is empty.
    return s.scalars(
        update(Job)
        .where(Job.id == _best(tenant, gpus))
        .values(
            status=Status.RUNNING.value,
            attempt=Job.attempt + 1,
            lease_owner=worker_id,
            lease_until=clock.now() + ttl,
            heartbeat_at=clock.now(),
            progress_at=clock.now(),
            claimed_at=clock.now(),
            device=device,
            started_at=func.coalesce(Job.started_at, clock.now()),
        )
        .returning(Job)
        .execution_options(populate_existing=True)
    ).one_or_none()


def _best(tenant: str, gpus: int) -> ScalarSelect[str]:
    """Return a subquery for the tenant's next job, which it locks; jobs that others have locked are passed over.

    It takes the best of those that need no GPU, of those that need one, and so on, as each is the first of an index.
    """
    order = queue.claim_order()
    fits = (has_status(Status.QUEUED), Job.tenant == tenant, jobs.claimable_now())
    first = [
        select(Job.id, Job.priority, Job.created_at)
        .where(*fits, Job.gpus == number)
        .order_by(*order)
        .limit(1)
        .with_for_update(skip_locked=True)
        .subquery()
        for number in range(gpus + 1)
    ]
    if len(first) == 1:
        return select(first[0].c.id).scalar_subquery()
    best = union_all(*(select(each) for each in first)).subquery()
    return select(best.c.id).order_by(best.c.priority.desc(), best.c.created_at, best.c.id).limit(1).scalar_subquery()


def renew(s: Session, job_id: str, attempt: int, ttl: float) -> JobRequests:
    """Renew the lease. Raises `FencedError` when the job no longer belongs to this attempt."""
    return fence(s, job_id, attempt, ttl)


def fence(s: Session, job_id: str, attempt: int, ttl: float, **progress: Any) -> JobRequests:
    """Open a write of this attempt: take the job's row lock until the transaction ends, and renew the lease.

    `progress` also sets step, images_seen, images_per_second, latest_metrics, device or status_reason.
    Raises `FencedError` when the job no longer belongs to this attempt. Then nothing must be written.
    """
    values: dict[str, Any] = {"lease_until": clock.now() + ttl, "heartbeat_at": clock.now(), **progress}
    if "step" in progress:
        values["progress_at"] = clock.now()
    row = s.execute(
        update(Job)
        .where(*_held_by(job_id, attempt))
        .values(values)
        # Return values, not conditions: SQLite 3.40 evaluates every IS NOT NULL in RETURNING as true.
        .returning(
            Job.cancel_requested_at,
            Job.pause_requested_at,
            Job.checkpoint_requested_at,
            Job.ran_seconds + clock.now() - Job.claimed_at,
            Job.max_runtime_seconds,
        )
    ).one_or_none()
    if row is None:
        raise _fenced(job_id, attempt)
    if "step" in progress:
        events.record_progress(s, job_id, progress["step"], attempt=attempt)
    *requested_at, ran, longest = row
    cancel, pause, checkpoint = (moment is not None for moment in requested_at)
    return JobRequests(cancel, pause, checkpoint, overdue=longest is not None and ran >= longest)


def record_resume(s: Session, job_id: str, attempt: int, step: int) -> None:
    """Record the step from which this attempt resumes (0: from scratch), in the transaction of `fence`."""
    attempts.record_resume(s, job_id, attempt, step)


def finish(
    s: Session,
    job_id: str,
    attempt: int,
    status: Status,
    error: dict[str, Any] | None = None,
    reason: dict[str, Any] | None = None,
) -> Job:
    """End the job. `reason` is {"code", "message"} where the status alone does not say why.

    A job with a request to cancel ends as cancelled, whatever its result. Raises `FencedError` when the job no longer
    belongs to this attempt.
    """
    assert status in TERMINAL and (status is Status.FAILED) == (error is not None)
    outcome = (error or reason or {"code": status.value})["code"]
    job = _lock(s, job_id, attempt)
    if job.cancel_requested_at is not None:
        return _leave(s, job, Status.CANCELLED, outcome=outcome)
    return _leave(s, job, status, outcome=outcome, error=error, reason=reason)


def release(
    s: Session, job_id: str, attempt: int, *, crash: bool, reason: dict[str, Any], hint: str | None = None
) -> Job:
    """Give the job back, and return it with its new status.

    The job is queued again; or it is paused, if that was requested; or it ends, if a cancel was requested, if it has
    reached its max_runtime_seconds, or if it has crashed too often.

    A crash is counted, and each crash doubles the delay before the next attempt (1, 2, 4, ... s). The release of a
    drained or preempted worker is not counted. `reason` is {"code", "message"}. `hint` is shown if this was the last
    attempt. Raises `FencedError`.
    """
    return _release(s, _lock(s, job_id, attempt), crash=crash, reason=reason, hint=hint)


def reap(s: Session, limit: int = 100) -> list[str]:
    """Give back the jobs whose lease has expired, and return their ids."""
    query = (
        select(Job.id, Job.attempt, Job.lease_owner)
        .where(has_status(Status.RUNNING), _has_expired())
        # A release locks the tenant's record. Two relays that give jobs back lock the records in the same order.
        .order_by(Job.tenant, Job.lease_owner)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    reaped = []
    for job_id, attempt, owner in s.execute(query).all():
        job = _lock(s, job_id, attempt, _has_expired())
        message = f"The worker {owner} stopped sending heartbeats. The job resumes from its last checkpoint."
        _release(s, job, crash=True, reason={"code": "worker_lost", "message": message})
        workers.clear_current_job(s, job_id)
        reaped.append(job_id)
    return reaped


def _has_expired() -> ColumnElement[bool]:
    """Return the condition that a lease has expired.

    A lease has also expired if its last renewal lies more than a whole lease in the future: then the database's clock
    has been set back since.
    """
    lease = Job.lease_until - Job.heartbeat_at
    return or_(Job.lease_until < clock.now(), Job.heartbeat_at > clock.now() + lease)


def _held_by(job_id: str, attempt: int) -> tuple[ColumnElement[bool], ...]:
    return (Job.id == job_id, Job.attempt == attempt, Job.status == Status.RUNNING.value)


def _lock(s: Session, job_id: str, attempt: int, *guards: ColumnElement[bool]) -> Job:
    job = jobs.lock(s, *_held_by(job_id, attempt), *guards)
    if job is None:
        raise _fenced(job_id, attempt)
    return job


def _fenced(job_id: str, attempt: int) -> FencedError:
    return FencedError(f"Attempt {attempt} of {job_id} no longer holds the job.")


def _release(s: Session, job: Job, *, crash: bool, reason: dict[str, Any], hint: str | None = None) -> Job:
    job.crashes += int(crash)
    if job.cancel_requested_at is not None:
        return _leave(s, job, Status.CANCELLED, outcome=reason["code"])
    if job.max_runtime_seconds is not None and _run_seconds(s, job) >= job.max_runtime_seconds:
        return _leave(s, job, Status.FAILED, outcome="max_runtime_exceeded", error=_runtime_error(job))
    if job.pause_requested_at is not None:
        return _leave(s, job, Status.PAUSED, outcome="paused")
    if crash and job.crashes >= job.max_attempts:
        return _leave(s, job, Status.FAILED, outcome=reason["code"], error=_attempts_error(job, reason, hint))
    delay = min(jobs.LONGEST_BACKOFF_SECONDS, 2.0 ** (job.crashes - 1)) if crash else 0.0
    job.not_before = clock.read(s) + delay
    job.published_at = None
    jobs.add_hint(s, job.id, send_after=job.not_before)
    return _leave(s, job, Status.QUEUED, outcome=reason["code"], reason=reason)


def _run_seconds(s: Session, job: Job) -> float:
    """Return how long the job has run in all attempts, s. A lost attempt counts up to its last heartbeat."""
    assert job.claimed_at is not None and job.heartbeat_at is not None
    # The time between the last heartbeat of a lost worker and the discovery of its loss does not count.
    lost = job.lease_until is not None and job.lease_until < clock.read(s)
    return job.ran_seconds + max(0.0, (job.heartbeat_at if lost else clock.read(s)) - job.claimed_at)


def _runtime_error(job: Job) -> dict[str, Any]:
    return {
        "code": "max_runtime_exceeded",
        "message": f"The job has reached its max_runtime_seconds of {job.max_runtime_seconds} s.",
        "retryable": True,
        "step": job.step,
        "hint": "Its checkpoints are kept. `gantry retry JOB` resumes from the last one, with the same limit again.",
    }


def _attempts_error(job: Job, reason: dict[str, Any], hint: str | None) -> dict[str, Any]:
    count = "The only attempt" if job.crashes == 1 else f"{job.crashes} attempts"
    return {
        "code": "max_attempts_exceeded",
        "message": f"{count} crashed. The last error: {reason['message']}",
        "retryable": True,
        "step": job.step,
        "hint": hint or "If the cause lies outside the job, such as a lost host, resume it with `gantry retry JOB`.",
    }


def _leave(
    s: Session,
    job: Job,
    status: Status,
    *,
    outcome: str,
    error: dict[str, Any] | None = None,
    reason: dict[str, Any] | None = None,
) -> Job:
    """Move the job out of running, under the row lock that `_lock` took."""
    assert status in TRANSITIONS[Status.RUNNING]
    moment = clock.read(s)
    before, job.ran_seconds = job.ran_seconds, _run_seconds(s, job)
    job.status, job.status_reason, job.error = status.value, reason, error
    job.lease_until = job.checkpoint_requested_at = job.pause_requested_at = job.claimed_at = None
    if status not in TERMINAL:
        job.lease_owner = job.device = job.heartbeat_at = job.images_per_second = None
    job.finished_at = moment if status in TERMINAL else None
    attempt = s.get_one(Attempt, (job.id, job.attempt))
    attempt.ended_at, attempt.outcome = moment, outcome
    s.flush()
    jobs.record_status(s, job)
    # At the end, because it locks a record that all attempts of the tenant write to.
    tenants.add_device_time(s, job.tenant, job.ran_seconds - before, max(1, job.gpus))
    s.refresh(job)
    return job


def _open_attempt(s: Session, job: Job, worker_id: str, device: str) -> None:
    s.add(Attempt(job_id=job.id, attempt=job.attempt, worker_id=worker_id, device=device, started_at=clock.read(s)))
    s.flush()
    jobs.record_status(s, job)
    s.refresh(job)
