"""Pictures and downloads, passed on: a browser reaches the dashboard, and need not reach the service."""

from __future__ import annotations

import re
from typing import Final

import httpx2
from nicegui import app
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.client import ApiError, Unreachable
from api.ui.desk import Desk

PREFIX: Final = "/files"
AS_ZIP: Final = ("format", "zip")
"""Added to the query of samples: as a zip."""

_JOB: Final = r"v1/jobs/[A-Za-z0-9_]+"
# What is passed on: reading alone, and of all addresses these.
_OPEN: Final = re.compile(
    rf"{_JOB}/(previews/\d+\.png|previews\.gif|samples|metrics/series)|v1/checkpoints/[A-Za-z0-9_]+/content"
)
_ASKED: Final = ("accept", "if-none-match", "range", "if-range")
_ANSWERED: Final = (
    "content-type",
    "content-length",
    "content-disposition",
    "content-range",
    "accept-ranges",
    "etag",
    "cache-control",
)
_LIMITS: Final = httpx2.Timeout(150, connect=5)
_NO_PICTURE: Final = '<svg xmlns="http://www.w3.org/2000/svg" width="48" height="48"/>'


def register(desk: Desk) -> None:
    """The addresses under `PREFIX`."""

    @app.get(PREFIX + "/{path:path}", include_in_schema=False)
    async def passed_on(path: str, request: Request) -> Response:
        if _OPEN.fullmatch(path) is None:
            return Response(status_code=404)
        return await _pass_on(desk, f"/{path}", request)

    @app.get("/thumbs/{job_id}", include_in_schema=False)
    async def last_preview(job_id: str, request: Request) -> Response:
        """The newest preview of a job; an empty picture while there is none."""
        try:
            drawn = await desk.ask(desk.client.previews, job_id)
        except (ApiError, Unreachable):
            drawn = []
        if not drawn:
            return Response(_NO_PICTURE, media_type="image/svg+xml", headers={"Cache-Control": "no-store"})
        return await _pass_on(desk, drawn[-1]["url"], request, with_query=False)


async def _pass_on(desk: Desk, path: str, request: Request, *, with_query: bool = True) -> Response:
    http = httpx2.AsyncClient(base_url=desk.url, timeout=_LIMITS, trust_env=desk.client.trusts_environment)
    asked = {name: request.headers[name] for name in _ASKED if name in request.headers}
    query = httpx2.QueryParams(request.url.query if with_query else "")
    if AS_ZIP in query.multi_items():
        # A link cannot say what it accepts.
        query = query.remove(AS_ZIP[0])
        asked["accept"] = "application/zip"
    built = http.build_request("GET", path, params=query, headers={**asked, "Accept-Encoding": "identity"})
    try:
        answer = await http.send(built, stream=True)
    except httpx2.TransportError:
        await http.aclose()
        return Response("The service does not answer.", status_code=502, media_type="text/plain")
    headers = {name: answer.headers[name] for name in _ANSWERED if name in answer.headers}
    return StreamingResponse(answer.aiter_raw(), answer.status_code, headers, background=BackgroundTask(http.aclose))
