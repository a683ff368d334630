"""Workers as response bodies."""

from __future__ import annotations

from collections.abc import Collection

from api.schemas.workers import WorkerView
from api.views.base import moment
from jobs.models import Worker
from jobs.store import workers


def worker_view(row: Worker, now: float, lease_seconds: float, visible_jobs: Collection[str]) -> WorkerView:
    """Return a worker at the time `now` (s); the id of its job only if it is one of `visible_jobs`."""
    status = workers.status_of(row, now, lease_seconds)
    is_job_visible = status != "lost" and row.current_job_id in visible_jobs
    return WorkerView(
        id=row.id,
        host=row.host,
        devices=row.devices,
        status=status,
        current_job_id=row.current_job_id if is_job_visible else None,
        heartbeat_at=moment(row.heartbeat_at),
    )
