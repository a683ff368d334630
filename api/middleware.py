"""What surrounds every request: its id in the log, HEAD, and the last resort that makes every error a problem."""

from __future__ import annotations

import time
from typing import Final

import structlog
from asgi_correlation_id import correlation_id
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import MEDIA_TYPE, framework_problem

_log = structlog.get_logger("gantry.api")
_KEPT: Final = ("allow", "content-range", "retry-after")


class AccessLog:
    """One line a request, and its id in every line that is logged on its way."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=correlation_id.get()):
            try:
                await self.app(scope, receive, watch)
            finally:
                milliseconds = round((time.perf_counter() - started) * 1000, 1)
                words = {"method": scope["method"], "path": scope["path"], "status": status, "ms": milliseconds}
                _log.info("request", **words)


class Head:
    """HEAD wherever there is GET: the same answer without its body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        ended = False

        async def bodiless(message: Message) -> None:
            nonlocal ended
            if ended:
                return
            if message["type"] == "http.response.body":
                # At its first piece, not at its last: a stream may have none for hours.
                ended, message = True, {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        await self.app({**scope, "method": "GET"}, receive, bodiless)


class Problems:
    """Turns an error that a library has answered in its own words into a problem of the same status."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        replaced = False

        async def translate(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and _foreign(message):
                replaced = True
                headers = Headers(raw=message["headers"])
                kept = {name: headers[name] for name in _KEPT if name in headers}
                await framework_problem(scope["path"], message["status"], kept)(scope, receive, send)
            elif not replaced:
                await send(message)

        await self.app(scope, receive, translate)


def _foreign(start: Message) -> bool:
    return start["status"] >= 400 and not Headers(raw=start["headers"]).get("content-type", "").startswith(MEDIA_TYPE)
