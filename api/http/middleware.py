"""Middleware around every request: the access log, HEAD, limits of bodies, and problem bodies for library errors."""

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
_KEPT_HEADERS: Final = (
    *("allow", "connection", "content-range", "retry-after", "vary"),
    *("access-control-allow-origin", "access-control-expose-headers"),
)
_METHODS_WITH_BODIES: Final = ("POST", "PUT", "PATCH", "DELETE")


class AccessLog:
    """The access log: one line per request. It also adds the id of the request to all log lines in between."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app, then log method, path, status and duration in ms; 500 if it raised before it responded."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=correlation_id.get()):
            try:
                await self.app(scope, receive, note_status)
            finally:
                milliseconds = round((time.perf_counter() - started) * 1000, 1)
                fields = {"method": scope["method"], "path": scope["path"], "status": status, "ms": milliseconds}
                _log.info("request", **fields)


class HeadRequests:
    """The responses to HEAD: those of GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app; a HEAD reaches it as a GET, and its response ends before the first byte of the body."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        ended = False

        async def send_without_body(message: Message) -> None:
            nonlocal ended
            if ended:
                return
            if message["type"] == "http.response.body":
                # End the response at the first piece, not at the last: a stream may have no last piece for hours.
                ended, message = True, {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        await self.app({**scope, "method": "GET"}, receive, send_without_body)


class BodyLimit(RequestBodyLimitMiddleware):
    """A limit of `most_bytes` for bodies, counted while they arrive. `exempt` routes have their own limit."""

    def __init__(self, app: ASGIApp, most_bytes: int, exempt: Callable[[Scope], bool]) -> None:
        super().__init__(app, max_body_size=most_bytes)
        self._exempt = exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app with the limit; without it for exempt routes and for WebSockets."""
        if scope["type"] != "http" or self._exempt(scope):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class BodyTimeout:
    """A limit of `seconds` for the arrival of a body; later it is a 408. `exempt` routes have their own limit.

    Without it a client that sends one byte per minute would hold its connection for days.
    """

    def __init__(self, app: ASGIApp, seconds: float, exempt: Callable[[Scope], bool]) -> None:
        self.app, self._seconds, self._exempt = app, seconds, exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app. In it, `receive` raises a 408 if the body is not complete in time."""
        if scope["type"] != "http" or scope["method"] not in _METHODS_WITH_BODIES or self._exempt(scope):
            await self.app(scope, receive, send)
            return
        deadline, complete = asyncio.get_running_loop().time() + self._seconds, False

        async def receive_in_time() -> Message:
            nonlocal complete
            if complete:  # the next message is `http.disconnect`, which may take any time
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, headers={"Connection": "close"}) from None
            complete = not message.get("more_body", False)
            return message

        await self.app(scope, receive_in_time, send)


class ProblemResponses:
    """The replacement of error responses of libraries by problems of the same status."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app; send a problem in place of a response of status 400 or above that is not one."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        replaced = False

        async def replace(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and _is_library_error(message):
                replaced = True
                headers = Headers(raw=message["headers"])
                kept = {name: headers[name] for name in _KEPT_HEADERS if name in headers}
                await framework_problem(scope["path"], message["status"], kept)(scope, receive, send)
            elif not replaced:
                await send(message)

        await self.app(scope, receive, replace)


def _is_library_error(start: Message) -> bool:
    return start["status"] >= 400 and not Headers(raw=start["headers"]).get("content-type", "").startswith(MEDIA_TYPE)
