"""Who is there to train, and who shall stop."""

from __future__ import annotations

from fastapi import APIRouter

from api import views
from api.bodies import NoBody
from api.parameters import PageOf
from api.schemas import Listed, WorkerView
from api.services import Hall
from jobs import clock
from jobs.store import workers

router = APIRouter(prefix="/v1/workers", tags=["workers"])


@router.get("")
def list_workers(hall: Hall, page: PageOf) -> Listed[WorkerView]:
    """Every worker that was heard of within a week; `lost` when its lease time has passed in silence."""
    with hall.db.read() as s:
        now, rows = clock.read(s), workers.page(s, limit=page.limit, cursor=page.cursor)
    return views.listed(rows, lambda row: views.worker(row, now, hall.settings.lease_seconds))


@router.post("/{worker_id}/drain", dependencies=[NoBody])
def drain(hall: Hall, worker_id: str) -> WorkerView:
    """It takes no more jobs, gives back the one it carries after a checkpoint, and ends. Asked again: the same."""
    with hall.db.write() as s:
        now, row = clock.read(s), workers.request_drain(s, worker_id)
        return views.worker(row, now, hall.settings.lease_seconds)
