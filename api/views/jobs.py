"""Rows of the record, as the schemas show them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar, cast, overload

from api import schemas
from gan.spec import DEFAULT_PRESET, PRESETS, from_record, preset_spec
from jobs.db import Session
from jobs.models import ApiKey, Checkpoint, Dataset, Evaluation, Job, JobEvent, Preview, Tenant, Worker
from jobs.status import Status
from jobs.store import jobs, queue, workers
from jobs.store.callers import tenants
from jobs.store.callers.api_keys import NewApiKey
from jobs.store.evaluations import EvaluationPlace
from jobs.store.metrics import MetricSummary
from jobs.store.pages import Page

Row = TypeVar("Row")
View = TypeVar("View")


@overload
def moment(seconds: float) -> datetime: ...
@overload
def moment(seconds: None) -> None: ...
def moment(seconds: float | None) -> datetime | None:
    """Seconds since 1970, of the database's clock, as UTC to the millisecond."""
    return None if seconds is None else datetime.fromtimestamp(round(seconds, 3), UTC)


def listed(page: Page[Row], view: Callable[[Row], View]) -> schemas.Listed[View]:
    """A page of rows as a page of views."""
    data = [view(row) for row in page.data]
    return schemas.Listed(data=data, has_more=page.next_cursor is not None, next_cursor=page.next_cursor)


def job_views(s: Session, shown: Collection[jobs.JobDetails], lease_seconds: float) -> list[schemas.JobView]:
    """Jobs, those that wait with their places in the queue."""
    rows = [job.row for job in shown]
    # Asked for those that wait alone: most polls are of jobs that train, or have ended.
    waiting = any(row.status == Status.QUEUED for row in rows)
    most_gpus = workers.most_gpus(s, lease_seconds) if waiting else None
    places = queue.positions(s, rows, most_gpus)
    return [_job(job, most_gpus, places.get(job.row.id)) for job in shown]


def job_view(s: Session, row: Job, lease_seconds: float) -> schemas.JobView:
    """One job, as the session has it."""
    return job_views(s, [jobs.fetch_details(s, [row.id])[row.id]], lease_seconds)[0]


def _job(shown: jobs.JobDetails, most_gpus: int | None, place: queue.QueuePosition | None) -> schemas.JobView:
    row = shown.row
    status, spec = Status(row.status), from_record(row.spec)
    return schemas.JobView(
        id=row.id,
        name=row.name,
        labels=row.labels,
        status=status,
        status_reason=_reason(row, most_gpus, place),
        # While it waits, the attempt that it waits for.
        attempt=row.attempt + 1 if status is Status.QUEUED else row.attempt,
        allowed_actions=jobs.actions(row),
        progress=_progress(row),
        queue=None if place is None else schemas.Place(position=place.ahead + 1, jobs_ahead=place.ahead),
        latest_metrics=finite(row.latest_metrics),
        health=schemas.Health.model_validate(row.health),
        best_checkpoint_id=shown.best,
        last_checkpoint_id=shown.last,
        worker=_worker_of(row),
        error=_error(row.error),
        spec=spec,
        created_at=moment(row.created_at),
        started_at=moment(row.started_at),
        finished_at=moment(row.finished_at),
        retry_of=row.retry_of,
        links=_links(row.id),
    )


def _reason(row: Job, most_gpus: int | None, place: queue.QueuePosition | None) -> schemas.Reason | None:
    """Why it stands where it does; of a queued job, first of all that nobody is there who could run it."""
    if row.status == Status.QUEUED and most_gpus is None:
        return schemas.Reason(code="no_worker", message="No worker is running; `gantry worker` starts one.")
    if row.status == Status.QUEUED and most_gpus is not None and row.gpus > most_gpus:
        message = f"It needs {row.gpus} GPU, and no worker that is running has one; or set resources.gpus to 0."
        return schemas.Reason(code="no_capable_worker", message=message)
    if place is not None and place.spent:
        message = "All device hours are used up; it begins when an administrator grants more."
        return schemas.Reason(code="quota_device_hours", message=message)
    if place is not None and place.held:
        message = "As many jobs run as may at a time; it begins when one of them has ended."
        return schemas.Reason(code="quota_running", message=message)
    return schemas.Reason(**row.status_reason) if row.status_reason else None


def finite(values: dict[str, Any]) -> dict[str, float | None]:
    """Numbers by name, null where one is not finite."""
    return {k: v if isinstance(v, int | float) and math.isfinite(v) else None for k, v in values.items()}


def _progress(row: Job) -> schemas.Progress:
    return schemas.Progress(
        step=row.step,
        total_steps=row.total_steps,
        fraction=round(min(1.0, row.step / row.total_steps), 6),
        images_seen=row.images_seen,
        images_per_second=None if row.images_per_second is None else round(row.images_per_second, 1),
        eta_seconds=_eta(row),
        updated_at=moment(row.progress_at),
    )


def _eta(row: Job) -> int | None:
    if row.status != Status.RUNNING or not row.images_per_second or not row.step:
        return None
    # Of the steps so far: how many images a step shows depends on the alternation.
    images_left = (row.total_steps - row.step) * row.images_seen / row.step
    return max(0, round(images_left / row.images_per_second))


def _worker_of(row: Job) -> schemas.JobWorker | None:
    if row.lease_owner is None:
        return None
    return schemas.JobWorker(id=row.lease_owner, device=row.device, heartbeat_at=moment(row.heartbeat_at))


def _error(error: dict[str, Any] | None) -> schemas.JobError | None:
    if error is None:
        return None
    return schemas.JobError(
        code=error["code"],
        message=error["message"],
        retryable=bool(error.get("retryable", False)),
        step=error.get("step"),
        hint=error.get("hint"),
    )


def _links(job_id: str) -> schemas.Links:
    base = f"/v1/jobs/{job_id}"
    return schemas.Links(
        self=base,
        events=f"{base}/events",
        metrics=f"{base}/metrics",
        checkpoints=f"{base}/checkpoints",
        evaluations=f"{base}/evaluations",
        samples=f"{base}/samples",
    )


def event(row: JobEvent) -> schemas.EventView:
    return schemas.EventView(
        seq=row.seq, type=row.type, attempt=row.attempt, data=row.data, actor=row.actor, at=moment(row.at)
    )


def metric(row: MetricSummary) -> schemas.MetricView:
    return schemas.MetricView(**vars(row))


def preview(row: Preview) -> schemas.PreviewView:
    return schemas.PreviewView(step=row.step, url=f"/v1/jobs/{row.job_id}/previews/{row.step}.png")


def checkpoint(row: Checkpoint, last_id: str | None) -> schemas.CheckpointView:
    return schemas.CheckpointView(
        id=row.id,
        step=row.step,
        attempt=row.attempt,
        metrics=finite(row.metrics),
        is_last=row.id == last_id,
        is_best=row.is_best,
        bytes=row.bytes,
        sha256=row.sha256,
        created_at=moment(row.created_at),
    )


def evaluation(row: Evaluation, best: EvaluationPlace | None) -> schemas.EvaluationView:
    details = row.details
    return schemas.EvaluationView(
        step=row.step,
        attempt=row.attempt,
        is_best=best == (row.step, row.attempt),
        metrics=finite(row.metrics),
        reference=details.get("reference", {}),
        class_histogram=details.get("class_histogram", {}),
        real_class_histogram=details.get("real_class_histogram", {}),
        within_class_diversity=details.get("within_class_diversity", {}),
        label_accuracy_by_class=details.get("label_accuracy_by_class", {}),
        provenance=details.get("provenance", {}),
        created_at=moment(row.created_at),
    )


def dataset(row: Dataset) -> schemas.DatasetView:
    return schemas.DatasetView(
        id=row.id,
        name=row.name,
        status=cast(Literal["validating", "ready", "failed"], row.status),
        num_images=row.num_images,
        channels=row.channels,
        height=row.height,
        width=row.width,
        classes=[schemas.CountedClass(**c) for c in row.classes],
        sha256=row.sha256,
        problems=[schemas.FileProblem(**p) for p in row.problems],
        num_held_out=row.num_held_out,
        preparation=None if row.preparation is None else schemas.Preparation(**row.preparation),
        progress=None if row.progress is None else schemas.IntakeProgress(**row.progress),
    )


def preset(name: str) -> schemas.PresetView:
    """A preset by its name, which must be known."""
    found = PRESETS[name]
    return schemas.PresetView(
        name=name,
        title=found.title,
        summary=found.summary,
        paper=found.paper,
        reach=found.reach,
        is_default=name == DEFAULT_PRESET,
        spec=preset_spec(name),
    )


def key(row: ApiKey) -> schemas.KeyView:
    return schemas.KeyView(**_key(row))


def new_key(made: NewApiKey) -> schemas.NewKeyView:
    return schemas.NewKeyView(key=made.key, **_key(made.row))


def _key(row: ApiKey) -> dict[str, Any]:
    times = ("created_at", "expires_at", "revoked_at", "last_used_at")
    words = ("id", "tenant", "name", "handle", "scopes")
    return {name: getattr(row, name) for name in words} | {name: moment(getattr(row, name)) for name in times}


def tenant(row: Tenant, usage: tenants.Usage) -> schemas.TenantView:
    return schemas.TenantView(
        id=row.id,
        quotas=schemas.Quotas(**{name: getattr(row, name) for name in tenants.QUOTAS}),
        usage=schemas.TenantUsage(**vars(usage)),
        created_at=moment(row.created_at),
    )


def worker(row: Worker, now: float, lease_seconds: float, mine: Collection[str]) -> schemas.WorkerView:
    """A worker; which job it carries only where that is one of `mine`."""
    status = workers.status_of(row, now, lease_seconds)
    return schemas.WorkerView(
        id=row.id,
        host=row.host,
        devices=row.devices,
        status=status,
        current_job_id=row.current_job_id if status != "lost" and row.current_job_id in mine else None,
        heartbeat_at=moment(row.heartbeat_at),
    )
