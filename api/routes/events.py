"""What happened to a job, in order, numbered without a gap."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Response

from api import views
from api.headers import VARY, negotiate
from api.schemas import EventView, Listed
from api.services import Hall
from jobs.store import events, jobs

router = APIRouter(prefix="/v1/jobs/{job_id}/events", tags=["progress"])

# What is not offered is 406: a reader of text/event-stream must not take a page for a stream.
_OFFERED: Final = ("application/json",)


@router.get("")
def list_events(
    hall: Hall,
    job_id: str,
    response: Response,
    after: Annotated[
        int, Query(ge=0, le=2**53, description="Only events past this seq; next_cursor of the page before.")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=200, description="Rows in a page.")] = 50,
    accept: Annotated[str | None, Header(description="application/json.")] = None,
) -> Listed[EventView]:
    """The events, oldest first. An ended job's last is the `job.status` that ended it."""
    negotiate(accept, _OFFERED)
    response.headers.update(VARY)
    with hall.db.read() as s:
        jobs.get(s, job_id)
        rows = events.page(s, job_id, after, limit + 1)
    data, more = rows[:limit], len(rows) > limit
    return Listed(data=[views.event(r) for r in data], has_more=more, next_cursor=str(data[-1].seq) if more else None)
