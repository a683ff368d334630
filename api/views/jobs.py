"""Jobs as response bodies."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from api.schemas.base import Reason
from api.schemas.jobs import Health, JobError, JobView, JobWorker, Links, Place, Progress
from api.views.base import finite, moment
from gan.spec import from_record
from jobs import leases
from jobs.db import Session
from jobs.models import NO_VERDICT, Job
from jobs.status import TERMINAL, Status
from jobs.store import jobs, positions, workers


def job_views(s: Session, shown: Collection[jobs.JobDetails], lease_seconds: float) -> list[JobView]:
    """Return the jobs; queued ones with their places in the queue."""
    rows = [job.row for job in shown]
    # Only for queued jobs: most polls are for jobs that are running or have ended.
    is_any_queued = any(row.status == Status.QUEUED for row in rows)
    most_gpus = workers.most_gpus(s, lease_seconds) if is_any_queued else None
    places = positions.find(s, rows, most_gpus)
    return [_job_view(job, most_gpus, places.get(job.row.id)) for job in shown]


def job_view(s: Session, row: Job, lease_seconds: float) -> JobView:
    """Return one job, as the session has it."""
    return job_views(s, [jobs.fetch_details(s, [row.id])[row.id]], lease_seconds)[0]


def seconds_until_silent(shown: jobs.JobDetails) -> float:
    """Return after how many seconds the worker of the job counts as silent; 0 or less: it does. Infinity: never."""
    if shown.row.status != Status.RUNNING or shown.heartbeat_age is None:
        return math.inf
    return leases.silent_seconds(shown.row) - shown.heartbeat_age


def _job_view(shown: jobs.JobDetails, most_gpus: int | None, place: positions.QueuePosition | None) -> JobView:
    row = shown.row
    status, spec = Status(row.status), from_record(row.spec)
    is_silent = seconds_until_silent(shown) <= 0
    return JobView(
        id=row.id,
        name=row.name,
        labels=row.labels,
        status=status,
        status_reason=_silent(row) if is_silent else _reason(row, most_gpus, place),
        # A queued job shows the number of the attempt that it waits for.
        attempt=row.attempt + 1 if status is Status.QUEUED else row.attempt,
        allowed_actions=jobs.actions(row),
        progress=_progress(row, has_rate=status in TERMINAL or (status is Status.RUNNING and not is_silent)),
        queue=None if place is None else _place(place),
        latest_metrics=finite(row.latest_metrics),
        health=_health(row),
        best_checkpoint_id=shown.best,
        last_checkpoint_id=shown.last,
        worker=_worker(row),
        error=_error(row.error),
        spec=spec,
        created_at=moment(row.created_at),
        started_at=moment(row.started_at),
        finished_at=moment(row.finished_at),
        retry_of=row.retry_of,
        links=_links(row.id),
    )


def _place(place: positions.QueuePosition) -> Place:
    return Place(position=place.ahead + 1, jobs_ahead=place.ahead, at_least=place.at_least)


def _reason(row: Job, most_gpus: int | None, place: positions.QueuePosition | None) -> Reason | None:
    """Return why a job has its status; for a queued job, the lack of a worker comes before all other reasons."""
    if row.status == Status.QUEUED and most_gpus is None:
        return Reason(code="no_worker", message="No worker is running; start one with `gantry worker`.")
    if row.status == Status.QUEUED and most_gpus is not None and row.gpus > most_gpus:
        message = (
            f"The job needs {row.gpus} GPU, and no running worker has one. Start a worker with a GPU, or set "
            "resources.gpus to 0."
        )
        return Reason(code="no_capable_worker", message=message)
    if place is not None and place.spent:
        message = "The quota of device hours is used up; the job starts when an administrator raises it."
        return Reason(code="quota_device_hours", message=message)
    if place is not None and place.held:
        message = "The quota of running jobs is reached; the job starts when one of them has ended."
        return Reason(code="quota_running", message=message)
    return Reason(**row.status_reason) if row.status_reason else None


def _health(row: Job) -> Health:
    """Return the health of a job; a job of an earlier version has a verdict and findings alone."""
    if row.health["verdict"] == "unknown":
        health = Health.model_validate(NO_VERDICT | row.health)
        if row.status in TERMINAL and health.reason == "still_learning":
            message = f"The job ended at step {row.step}, before an evaluation showed recognisable images."
            return health.model_copy(update={"reason": "ended_early", "message": message})
        return health
    return Health.model_validate({"reason": None, "message": "", "missing": []} | row.health)


def _silent(row: Job) -> Reason:
    message = (
        f"Its worker has not reported for {leases.silent_seconds(row):.0f} s or more. If it stays silent, the job "
        "continues on another worker when its lease has expired."
    )
    return Reason(code="worker_silent", message=message)


def _progress(row: Job, *, has_rate: bool) -> Progress:
    """Return the progress. Without a worker there is neither a rate nor a remaining time."""
    rate = row.images_per_second if has_rate else None
    return Progress(
        step=row.step,
        total_steps=row.total_steps,
        fraction=round(min(1.0, row.step / row.total_steps), 6),
        images_seen=row.images_seen,
        images_per_second=None if rate is None else round(rate, 1),
        eta_seconds=_eta(row, rate),
        updated_at=moment(row.progress_at),
    )


def _eta(row: Job, rate: float | None) -> int | None:
    """Return the remaining seconds; None while the rate is unknown."""
    if row.status != Status.RUNNING or not rate or not row.step:
        return None
    # The number of images per step depends on how D and G alternate: use the average of the steps so far.
    images_left = (row.total_steps - row.step) * row.images_seen / row.step
    return max(0, round(images_left / rate))


def _worker(row: Job) -> JobWorker | None:
    if row.lease_owner is None:
        return None
    return JobWorker(id=row.lease_owner, device=row.device, heartbeat_at=moment(row.heartbeat_at))


def _error(error: dict[str, Any] | None) -> JobError | None:
    if error is None:
        return None
    return JobError(
        code=error["code"],
        message=error["message"],
        retryable=bool(error.get("retryable", False)),
        step=error.get("step"),
        hint=error.get("hint"),
    )


def _links(job_id: str) -> Links:
    base = f"/v1/jobs/{job_id}"
    return Links(
        self=base,
        events=f"{base}/events",
        metrics=f"{base}/metrics",
        checkpoints=f"{base}/checkpoints",
        evaluations=f"{base}/evaluations",
        samples=f"{base}/samples",
    )
