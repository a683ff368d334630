"""Who is there to train."""

from __future__ import annotations

from fastapi import APIRouter

from api import views
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
