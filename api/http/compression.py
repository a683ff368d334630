"""Compressed responses: JSON and text above a size, for clients that send `Accept-Encoding: gzip`.

Pictures, archives, arrays and weights hardly shrink, and a range of a file counts its own bytes. They are sent as
they are, and so are streams, whose events must not wait.
"""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.headers import etag_of_gzip, matches_exactly

SMALLEST_BYTES: Final = 1024
"""The size from which on a body is compressed."""

_LEVEL: Final = 1  # half the time of the usual levels, for a sixth more bytes
# The scripts of the documentation have their own ETags, which their own route compares.
_SENT_AS_THEY_ARE: Final = (
    *DEFAULT_EXCLUDED_CONTENT_TYPES,
    *("application/octet-stream", "application/x-npz", "image/*", "font/*"),
    *("application/javascript", "text/javascript", "text/css"),
)


class Compression(GZipMiddleware):
    """A middleware that compresses responses.

    A compressed body has another strong ETag than the plain one (RFC 9110, section 8.8.3.3).
    """

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, SMALLEST_BYTES, _LEVEL, exclude_content_types=_SENT_AS_THEY_ARE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app; compress its response and replace a strong ETag by that of the compressed bytes."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        known = Headers(scope=scope).get("if-none-match")

        async def send_with_its_etag(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                etag = headers.get("etag")
                if etag is not None and _is_of_gzip(message["status"], headers, etag, known):
                    headers["etag"] = etag_of_gzip(etag)
            await send(message)

        await super().__call__(scope, receive, send_with_its_etag)


def _is_of_gzip(status: int, headers: Headers, etag: str, known: str | None) -> bool:
    """Return whether the response is compressed; a 304 is about the copy that the client has."""
    if status == 304:
        return matches_exactly(known, etag_of_gzip(etag))
    return headers.get("content-encoding") == "gzip"
