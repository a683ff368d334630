"""What surrounds every request: its id in the log, HEAD, and the last resort that makes every error a problem."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog
from asgi_correlation_id import correlation_id
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import MEDIA_TYPE, framework_problem

_log = structlog.get_logger("gantry.api")
_KEPT: Final = (
    *("allow", "connection", "content-range", "retry-after", "vary"),
    *("access-control-allow-origin", "access-control-expose-headers"),
)
_WITH_BODIES: Final = ("POST", "PUT", "PATCH", "DELETE")


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


class HeadRequests:
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


class BodyLimit(RequestBodyLimitMiddleware):
    """A body has at most so many bytes, counted while they come; all `but` those that count for themselves."""

    def __init__(self, app: ASGIApp, most_bytes: int, but: Callable[[Scope], bool]) -> None:
        super().__init__(app, max_body_size=most_bytes)
        self._but = but

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._but(scope):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class BodyTime:
    """A body has so many `seconds` to come, or who sends a byte a minute would be waited for until tomorrow; all
    `but` those that keep a clock of their own.
    """

    def __init__(self, app: ASGIApp, seconds: float, but: Callable[[Scope], bool]) -> None:
        self.app, self._seconds, self._but = app, seconds, but

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in _WITH_BODIES or self._but(scope):
            await self.app(scope, receive, send)
            return
        deadline, whole = asyncio.get_running_loop().time() + self._seconds, False

        async def in_time() -> Message:
            nonlocal whole
            if whole:  # what comes now is that the client has gone
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, headers={"Connection": "close"}) from None
            whole = not message.get("more_body", False)
            return message

        await self.app(scope, in_time, send)


class ProblemResponses:
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
