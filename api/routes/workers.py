"""Who is there to train, and who shall stop."""

from __future__ import annotations

from fastapi import APIRouter

from api import views
from api.context import Admin, JobsRead
from api.http.bodies import NoBody
from api.http.parameters import PageOf
from api.schemas import Listed, WorkerView
from jobs import clock
from jobs.store import jobs, workers

router = APIRouter(prefix="/v1/workers", tags=["workers"])


@router.get("")
def list_workers(context: JobsRead, page: PageOf) -> Listed[WorkerView]:
    """Every worker that was heard of within a week; `lost` when its lease time has passed in silence."""
    with context.read() as s:
        now, rows = clock.read(s), workers.page(s, limit=page.limit, cursor=page.cursor)
        # What a worker carries is its tenant's business.
        mine = jobs.existing_ids(s, [row.current_job_id for row in rows.data if row.current_job_id])
    return views.listed(rows, lambda row: views.worker(row, now, context.settings.lease_seconds, mine))


@router.post("/{worker_id}/drain", dependencies=[NoBody])
def drain(context: Admin, worker_id: str) -> WorkerView:
    """It takes no more jobs, gives back the one it carries after a checkpoint, and ends. Asked again: the same."""
    with context.write() as s:
        now, row = clock.read(s), workers.request_drain(s, worker_id)
        mine = {row.current_job_id or ""}
        return views.worker(row, now, context.settings.lease_seconds, mine)
