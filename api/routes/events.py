"""What happened to a job, in order, numbered without a gap: in pages, or as it happens."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Response
from starlette.concurrency import run_in_threadpool

from api import views
from api.context import JobsRead, TenantContext
from api.http.headers import VARY, negotiate
from api.live.event_stream import MEDIA_TYPE, EventStream
from api.schemas import EventView, Listed
from jobs.store import events, jobs

router = APIRouter(prefix="/v1/jobs/{job_id}/events", tags=["progress"])

_OFFERED: Final = ("application/json", MEDIA_TYPE)
_LAST_SEQ: Final = 2**53
_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {
            MEDIA_TYPE: {
                "schema": {"type": "string"},
                "example": (
                    "retry: 1000\n\n"
                    'event: job.status\ndata: {"seq":1,"type":"job.status","attempt":0,"data":{"status":"queued"},'
                    '"at":"2026-01-01T00:00:00Z"}\nid: 1\n\n'
                    ": heartbeat\n\n"
                    'event: stream.end\ndata: {"status": "cancelled", "last_seq": 2}\n\n'
                ),
            }
        }
    }
}


@router.get("", response_model=Listed[EventView], responses=_STREAM)
async def list_events(
    context: JobsRead,
    job_id: str,
    response: Response,
    after: Annotated[
        int, Query(ge=0, le=_LAST_SEQ, description="Only events past this seq; next_cursor of the page before.")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=200, description="Rows in a page; a stream has no pages.")] = 50,
    accept: Annotated[str | None, Header(description="application/json or text/event-stream.")] = None,
    last_event_id: Annotated[
        int | None,
        Header(ge=0, le=_LAST_SEQ, description="Of a stream, before `after`: the seq of the last event you have."),
    ] = None,
) -> Listed[EventView] | Response:
    """The events, oldest first. An ended job's last is the `job.status` that ended it.

    As a stream, each `data` is what the page has, `id` is its seq, and `stream.end` says that none will follow.
    """
    if negotiate(accept, _OFFERED) == MEDIA_TYPE:
        since = after if last_event_id is None else last_event_id
        return EventStream(context.event_hub, context.caller.tenant, job_id, since, context.is_still_open)
    response.headers.update(VARY)
    return await run_in_threadpool(_page, context, job_id, after, limit)


def _page(context: TenantContext, job_id: str, after: int, limit: int) -> Listed[EventView]:
    with context.read() as s:
        jobs.get(s, job_id)
        rows = events.page(s, job_id, after, limit + 1)
    data, more = rows[:limit], len(rows) > limit
    return Listed(data=[views.event(r) for r in data], has_more=more, next_cursor=str(data[-1].seq) if more else None)
