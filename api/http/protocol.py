"""uvicorn's HTTP protocol with limits: the head of a request has a largest size and a time in which it must arrive.

uvicorn itself waits without end for the rest of a head, and keeps all bytes of it in memory. It also sends chunks to
clients of HTTP/1.0, which take them for a part of the content.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

LARGEST_HEAD_BYTES: Final = 64 * 1024
HEAD_SECONDS: Final = 20.0
KEEP_ALIVE_SECONDS: Final = 30
"""How long an idle connection stays open.

It is longer than the usual 5 s of clients, so that the client closes first and no request meets a closing connection.
"""
UNREAD_SECONDS: Final = 5.0
"""The time for the rest of a request that has its response already: uvicorn drops its own timer at the first byte."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection, whose requests must send their head within `HEAD_SECONDS` and `LARGEST_HEAD_BYTES`."""

    _in_head = True
    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer of the first head."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the data, and refuse a head that is too large."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > LARGEST_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of this request is too large.")
        elif self._has_no_timer():
            # An empty line begins no request, but uvicorn drops its own timer for it as for any other bytes.
            self._timer = self.loop.call_later(UNREAD_SECONDS, self.transport.close)

    def on_message_begin(self) -> None:
        """Start the timer of the next head."""
        super().on_message_begin()
        if not self._in_head:
            self._await_head()

    def on_headers_complete(self) -> None:
        """Stop the timer, and refuse a head that is too large."""
        self._in_head = False
        self._stop_timer()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > LARGEST_HEAD_BYTES:
            raise httptools.HttpParserError("the head is too large")
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0" and self.scope["type"] == "http":
            _answer_without_chunks(self.cycle)

    def _has_no_timer(self) -> bool:
        """Return whether all requests have their response and no timer would ever close the connection."""
        return (
            self.cycle is not None
            and self.cycle.response_complete
            and not self.pipeline
            and self._timer is None
            and self.timeout_keep_alive_task is None
            and not self.transport.is_closing()
            # A WebSocket has another protocol by now.
            and self.transport.get_protocol() is self
        )

    def _await_head(self) -> None:
        self._stop_timer()
        self._in_head, self._head_bytes = True, 0
        self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _answer_without_chunks(cycle: RequestResponseCycle) -> None:
    """Let a response of unknown length end with its connection, as HTTP/1.0 has it (RFC 9112, section 6.3)."""
    send, is_of_unknown_length = cycle.send, False
    # HTTP/1.0 knows no interim responses either (RFC 9110, section 10.1.1).
    cycle.waiting_for_100_continue = False

    async def send_plainly(message: Any) -> None:
        nonlocal is_of_unknown_length
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            is_of_unknown_length = b"content-length" not in names
            cycle.chunked_encoding = False if is_of_unknown_length else None
        elif is_of_unknown_length:
            # uvicorn compares each part of a response without chunks with the length that remains.
            cycle.expected_content_length = len(message.get("body", b""))
        await send(message)

    cycle.send = send_plainly  # type: ignore[method-assign]
