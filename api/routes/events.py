"""Events of a job, in order and numbered without gaps: as pages, or as a live stream."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Response
from starlette.concurrency import run_in_threadpool

from api.context import JobsRead, TenantContext
from api.http.headers import VARY, negotiate
from api.http.parameters import Fields, fields_of
from api.live.event_stream import MEDIA_TYPE, EventStream
from api.openapi import files
from api.schemas.base import Listed
from api.schemas.progress import EventView
from api.views.base import list_of
from api.views.progress import event_view
from jobs.store import events, jobs

router = APIRouter(prefix="/v1/jobs/{job_id}/events", tags=["progress"])

_OFFERED: Final = ("application/json", MEDIA_TYPE)
_LAST_SEQ: Final = 2**53
_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": files(MEDIA_TYPE)},
    204: {"description": "For a stream: the job has ended, and no event follows."},
}


@router.get("", response_model=Listed[EventView], responses=_STREAM)
async def list_events(
    context: JobsRead,
    job_id: str,
    fields: Annotated[Fields, fields_of(EventView)],
    after: Annotated[
        int,
        Query(
            ge=0, le=_LAST_SEQ, description="Only events after this seq, such as the next_cursor of the last page."
        ),
    ] = 0,
    limit: Annotated[
        int, Query(ge=1, le=200, description="The largest number of events in a page; a stream ignores it.")
    ] = 50,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
    last_event_id: Annotated[
        int | None,
        Header(ge=0, le=_LAST_SEQ, description="For a stream, instead of `after`: the seq of your last event."),
    ] = None,
) -> Response:
    """List the events of a job, oldest first. The last event of an ended job is the `job.status` that ended it.

    In a stream (Accept: text/event-stream), `data` is the same object as in a page, `id` is its seq, and `stream.end`
    is the last event. A stream that has no more events to send at all is a 204, at which an `EventSource` stops.
    """
    if negotiate(accept, _OFFERED) == MEDIA_TYPE:
        since = after if last_event_id is None else last_event_id
        return EventStream(context.event_hub, context.caller.tenant, job_id, since, context.is_still_open)
    return await run_in_threadpool(_page, context, job_id, after, limit, fields)


def _page(context: TenantContext, job_id: str, after: int, limit: int, fields: Fields) -> Response:
    with context.read() as s:
        jobs.get(s, job_id)
        rows = events.page(s, job_id, after, limit + 1)
    shown = rows[:limit]
    next_cursor = str(shown[-1].seq) if len(rows) > limit else None
    response = list_of([event_view(row) for row in shown], next_cursor, fields)
    response.headers.update(VARY)
    return response
