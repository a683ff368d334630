"""Workers: list them, and drain one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response

from api.context import Admin, JobsRead
from api.http.bodies import NoBody
from api.http.parameters import Fields, PageOf, fields_of
from api.schemas.base import Listed
from api.schemas.workers import WorkerView
from api.views.base import list_view
from api.views.workers import worker_view
from jobs import clock
from jobs.store import jobs, workers

router = APIRouter(prefix="/v1/workers", tags=["workers"])


@router.get("", response_model=Listed[WorkerView])
def list_workers(context: JobsRead, page: PageOf, fields: Annotated[Fields, fields_of(WorkerView)]) -> Response:
    """List all workers with a heartbeat in the last week. A worker is `lost` when it has missed its lease time."""
    with context.read() as s:
        now, rows = clock.read(s), workers.page(s, limit=page.limit, cursor=page.cursor)
        # A tenant must not see the jobs of other tenants.
        own = jobs.existing_ids(s, [row.current_job_id for row in rows.data if row.current_job_id])
    return list_view(rows, lambda row: worker_view(row, now, context.settings.lease_seconds, own), fields)


@router.post("/{worker_id}/drain", dependencies=[NoBody])
def drain_worker(context: Admin, worker_id: str) -> WorkerView:
    """Drain a worker: it takes no more jobs, saves a checkpoint of its job, returns the job to the queue, and ends.

    A repeated request changes nothing.
    """
    with context.write() as s:
        now, row = clock.read(s), workers.request_drain(s, worker_id)
        return worker_view(row, now, context.settings.lease_seconds, {row.current_job_id or ""})
