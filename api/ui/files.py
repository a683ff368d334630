"""Pictures, downloads and uploads, passed on: a browser reaches the dashboard, and need not reach the service."""

from __future__ import annotations

import asyncio
import re
from typing import Final

import httpx2
from nicegui import app
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.ui import sparks
from api.ui.charts import LOSSES
from api.ui.sessions import Desk, Sessions
from gantry.client import ApiError, UnreachableError

PREFIX: Final = "/files"
AS_ZIP: Final = ("format", "zip")
"""Added to the query of samples: as a zip."""
OURS: Final = "X-Gantry-Dashboard"
"""A header that a page of another site cannot send without being asked for it first: uploads must carry it."""

_JOB: Final = r"v1/jobs/[A-Za-z0-9_]+"
# What is passed on: of all addresses these.
_READ: Final = re.compile(
    rf"{_JOB}/(previews/\d+\.png|previews\.gif|samples|metrics/series)|v1/checkpoints/[A-Za-z0-9_]+/content"
    r"|v1/datasets/ds_[A-Za-z0-9]+/contact-sheet"
)
UPLOADS: Final = "/v1/datasets"
_ASKED: Final = ("accept", "if-none-match", "range", "if-range")
_SENT: Final = ("content-type", "content-length")
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
# The most that GANTRY_UPLOAD_SECONDS may be: the service has a limit of its own.
_UPLOAD_SECONDS: Final = 86_400
_NO_PICTURE: Final = '<svg xmlns="http://www.w3.org/2000/svg" width="116" height="58"/>'
# The address changes with time: see `pages.jobs.row`.
_FOR_A_WHILE: Final = {"Cache-Control": "private, max-age=600"}


def register(sessions: Sessions) -> None:
    """The addresses under `PREFIX`, and those of small pictures."""

    @app.get(PREFIX + "/{path:path}", include_in_schema=False)
    async def passed_on(path: str, request: Request) -> Response:
        if _READ.fullmatch(path) is None:
            return Response(status_code=404)
        return await _pass_on(sessions.of(request), f"/{path}", request)

    @app.post(PREFIX + UPLOADS, include_in_schema=False)
    async def upload(request: Request) -> Response:
        if OURS not in request.headers:
            return Response(status_code=403)
        return await _send_on(sessions.of(request), request)

    @app.get("/thumbs/{job_id}", include_in_schema=False)
    async def last_preview(job_id: str, request: Request) -> Response:
        """The newest preview of a job; an empty picture while there is none."""
        session = sessions.of(request)
        try:
            drawn = await session.ask(session.client.previews, job_id)
        except (ApiError, UnreachableError):
            drawn = []
        if not drawn:
            return Response(_NO_PICTURE, media_type="image/svg+xml", headers={"Cache-Control": "no-store"})
        return await _pass_on(session, drawn[-1]["url"], request, with_query=False)

    @app.get("/sparks/{job_id}", include_in_schema=False)
    async def losses(job_id: str, request: Request) -> Response:
        """Both losses of a job, small; an empty picture while there are none."""
        try:
            series = await sessions.of(request).curves(job_id, LOSSES, sparks.POINTS)
        except (ApiError, UnreachableError):
            return Response(_NO_PICTURE, media_type="image/svg+xml", headers={"Cache-Control": "no-store"})
        return Response(sparks.draw(series), media_type="image/svg+xml", headers=_FOR_A_WHILE)


def _http(session: Desk) -> httpx2.AsyncClient:
    trusts = session.client.trusts_environment
    return httpx2.AsyncClient(base_url=session.url, headers=session.headers, timeout=_LIMITS, trust_env=trusts)


async def _pass_on(session: Desk, path: str, request: Request, *, with_query: bool = True) -> Response:
    http = _http(session)
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
        return _away()
    headers = {name: answer.headers[name] for name in _ANSWERED if name in answer.headers}
    return StreamingResponse(answer.aiter_raw(), answer.status_code, headers, background=BackgroundTask(http.aclose))


async def _send_on(session: Desk, request: Request) -> Response:
    """As it comes: no upload is gathered here, and none is begun for somebody whom the service would refuse."""
    headers = {name: request.headers[name] for name in _SENT if name in request.headers}
    async with _http(session) as http:
        try:
            # The client sends a body to its end before it looks for an answer, however early that came.
            answer = await http.get(UPLOADS, params={"limit": 1})
            # Who may not read may be one who may upload; whoever has no key, or one that nobody can look up, may not.
            if answer.is_success or answer.status_code == 403:
                async with asyncio.timeout(_UPLOAD_SECONDS):
                    answer = await http.post(UPLOADS, content=request.stream(), headers=headers)
        except (httpx2.TransportError, TimeoutError):
            return _away()
    told = {} if answer.is_success else {"Connection": "close"}
    return Response(answer.content, answer.status_code, told, answer.headers.get("content-type"))


def _away() -> Response:
    return Response("The service does not answer.", status_code=502, media_type="text/plain")
