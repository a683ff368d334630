"""HTTP as uvicorn speaks it, with an end to its patience: a request's head has so many bytes, and so long to come.

uvicorn itself waits for ever for the end of a head, and keeps of it whatever comes.
"""

from __future__ import annotations

import asyncio
from typing import Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LARGEST_HEAD_BYTES: Final = 64 * 1024
HEAD_SECONDS: Final = 20.0
KEEP_ALIVE_SECONDS: Final = 30
"""Of a connection on which nothing is asked: longer than usual clients keep theirs, which is 5 s, so that no request
crosses with the end of its connection.
"""
UNREAD_SECONDS: Final = 5.0
"""For the rest of a request that was answered already: a byte of it ends uvicorn's own patience for good."""


class ImpatientHttp(HttpToolsProtocol):
    """One connection."""

    _in_head = True
    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > LARGEST_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of this request is too large.")
        elif self._is_forgotten():
            # An empty line begins no request, and ends uvicorn's patience like any other bytes.
            self._timer = self.loop.call_later(UNREAD_SECONDS, self.transport.close)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self._in_head:
            self._await_head()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_waiting()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > LARGEST_HEAD_BYTES:
            raise httptools.HttpParserError("the head is too large")
        super().on_headers_complete()

    def _is_forgotten(self) -> bool:
        """Whether all is answered, and nobody's clock runs any more."""
        return (
            self.cycle is not None
            and self.cycle.response_complete
            and not self.pipeline
            and self._timer is None
            and self.timeout_keep_alive_task is None
            and not self.transport.is_closing()
            # Of a WebSocket it is another's connection by now.
            and self.transport.get_protocol() is self
        )

    def _await_head(self) -> None:
        self._stop_waiting()
        self._in_head, self._head_bytes = True, 0
        self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
