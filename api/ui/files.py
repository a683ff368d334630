"""A proxy for images, downloads and uploads: the browser needs to reach the dashboard only, not the service."""

from __future__ import annotations

import asyncio
import io
import re
from typing import Final

import httpx2
from nicegui import app
from PIL import Image
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.ui import sparklines
from api.ui.charts import LOSSES
from api.ui.sessions import BrowserSession, Sessions
from gantry.client import ApiError, UnreachableError

PREFIX: Final = "/files"
AS_ZIP: Final = ("format", "zip")
"""The query parameter that asks for samples as a zip."""
UPLOAD_HEADER: Final = "X-Gantry-Dashboard"
"""The header that every upload must have. A page of another site cannot send it without a CORS preflight request."""

_JOB: Final = r"v1/jobs/[A-Za-z0-9_]+"
# The proxy forwards GET requests to these paths only.
_READABLE_PATH: Final = re.compile(
    rf"{_JOB}/(previews/\d+\.png|previews\.gif|samples|metrics/series)|v1/checkpoints/[A-Za-z0-9_]+/content"
    r"|v1/datasets/ds_[A-Za-z0-9]+/contact-sheet"
)
UPLOADS: Final = "/v1/datasets"
_REQUEST_HEADERS: Final = ("accept", "if-none-match", "range", "if-range")
_UPLOAD_HEADERS: Final = ("content-type", "content-length")
_RESPONSE_HEADERS: Final = (
    "content-type",
    "content-length",
    "content-disposition",
    "content-range",
    "accept-ranges",
    "etag",
    "cache-control",
)
_TIMEOUT: Final = httpx2.Timeout(150, connect=5)
# The largest value that GANTRY_UPLOAD_SECONDS allows. The service applies its own limit.
_UPLOAD_SECONDS: Final = 86_400
_THUMBNAIL: Final = (116, 58)
_MOST_PIXELS: Final = 16_000_000
_EMPTY_IMAGE: Final = '<svg xmlns="http://www.w3.org/2000/svg" width="116" height="58"/>'
# `pages.jobs.row` changes the URL over time, so browsers may cache the response.
_CACHE_HEADERS: Final = {"Cache-Control": "private, max-age=600"}


def register(sessions: Sessions) -> None:
    """Add the routes below `PREFIX`, and those of thumbnails and sparklines."""

    @app.get(PREFIX + "/{path:path}", include_in_schema=False)
    async def download(path: str, request: Request) -> Response:
        if _READABLE_PATH.fullmatch(path) is None:
            return Response(status_code=404)
        return await _forward_get(sessions.of(request), f"/{path}", request)

    @app.post(PREFIX + UPLOADS, include_in_schema=False)
    async def upload(request: Request) -> Response:
        if UPLOAD_HEADER not in request.headers:
            return Response(status_code=403)
        return await _forward_upload(sessions.of(request), request)

    @app.get("/thumbs/{job_id}", include_in_schema=False)
    async def last_preview(job_id: str, request: Request) -> Response:
        """Return the newest preview of a job, or an empty image while there is none."""
        session = sessions.of(request)
        try:
            previews = await session.call(session.client.previews, job_id)
        except (ApiError, UnreachableError):
            previews = []
        if not previews:
            return Response(_EMPTY_IMAGE, media_type="image/svg+xml", headers={"Cache-Control": "no-store"})
        try:
            preview = await session.call(session.client.preview, job_id, previews[-1]["step"])
            content = await session.call(thumbnail, preview)
        except (ApiError, UnreachableError, ValueError, OSError):
            return Response(_EMPTY_IMAGE, media_type="image/svg+xml", headers={"Cache-Control": "no-store"})
        return Response(content, media_type="image/png", headers=_CACHE_HEADERS)

    @app.get("/sparks/{job_id}", include_in_schema=False)
    async def losses(job_id: str, request: Request) -> Response:
        """Return a sparkline of both losses of a job, or an empty image if the service does not give them."""
        try:
            series = await sessions.of(request).curves(job_id, LOSSES, sparklines.POINTS)
        except (ApiError, UnreachableError):
            return Response(_EMPTY_IMAGE, media_type="image/svg+xml", headers={"Cache-Control": "no-store"})
        return Response(sparklines.draw(series), media_type="image/svg+xml", headers=_CACHE_HEADERS)


def _http(session: BrowserSession) -> httpx2.AsyncClient:
    network = session.client.network
    return httpx2.AsyncClient(
        base_url=session.url,
        headers=session.headers,
        timeout=_TIMEOUT,
        proxy=network.proxy,
        verify=network.tls,
        trust_env=False,
    )


def thumbnail(preview: bytes) -> bytes:
    """Return the top right corner of a preview as a small PNG: two images, because the left edge holds labels.

    Raises `OSError` if the preview is no picture, and `ValueError` if it has more pixels than a thumbnail is worth.
    """
    with Image.open(io.BytesIO(preview)) as picture:
        if picture.width * picture.height > _MOST_PIXELS:
            raise ValueError("The preview is too large for a thumbnail.")
        width, height = (min(have, wanted) for have, wanted in zip(picture.size, _THUMBNAIL, strict=True))
        corner = picture.crop((picture.width - width, 0, picture.width, height))
        small = io.BytesIO()
        corner.save(small, format="PNG", optimize=True)
    return small.getvalue()


async def _forward_get(session: BrowserSession, path: str, request: Request) -> Response:
    http = _http(session)
    headers = {name: request.headers[name] for name in _REQUEST_HEADERS if name in request.headers}
    query = httpx2.QueryParams(request.url.query)
    if AS_ZIP in query.multi_items():
        # A link cannot set an Accept header, so the query parameter stands for it.
        query = query.remove(AS_ZIP[0])
        headers["accept"] = "application/zip"
    forwarded = http.build_request("GET", path, params=query, headers={**headers, "Accept-Encoding": "identity"})
    try:
        response = await http.send(forwarded, stream=True)
    except httpx2.TransportError:
        await http.aclose()
        return _unreachable()
    headers = {name: response.headers[name] for name in _RESPONSE_HEADERS if name in response.headers}
    cleanup = BackgroundTask(http.aclose)
    return StreamingResponse(response.aiter_raw(), response.status_code, headers, background=cleanup)


async def _forward_upload(session: BrowserSession, request: Request) -> Response:
    """Stream an upload to the service without storing it. Do not start if the service refuses the caller's key."""
    headers = {name: request.headers[name] for name in _UPLOAD_HEADERS if name in request.headers}
    async with _http(session) as http:
        try:
            # httpx2 sends the whole body before it reads a response, even an early one. So check the key first.
            response = await http.get(UPLOADS, params={"limit": 1})
            # With a 403 the key may not read, but it may still upload. With a 401 it is invalid, with a 503 unknown.
            if response.is_success or response.status_code == 403:
                async with asyncio.timeout(_UPLOAD_SECONDS):
                    response = await http.post(UPLOADS, content=request.stream(), headers=headers)
        except (httpx2.TransportError, TimeoutError):
            return _unreachable()
    connection = {} if response.is_success else {"Connection": "close"}
    return Response(response.content, response.status_code, connection, response.headers.get("content-type"))


def _unreachable() -> Response:
    return Response("The service does not answer.", status_code=502, media_type="text/plain")
