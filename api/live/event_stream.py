"""A job's events as server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final

from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.auth import REMEMBERED_SECONDS
from api.http.headers import VARY
from api.live.event_hub import EventHub, JobChannel, wait_for

MEDIA_TYPE: Final = "text/event-stream"
LAST_EVENT: Final = "stream.end"

# Neither ends with an empty line, which would end a block. Many clients deliver a block without data as an event.
# So the time to reconnect is part of the block of the first event, and a heartbeat is a line between two blocks.
_RETRY: Final = b"retry: 1000\n"
_HEARTBEAT: Final = b": heartbeat\n"
# Proxies such as nginx buffer a response unless X-Accel-Buffering forbids it.
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", **VARY}


class EventStream(EventSourceResponse):
    """The events after `seq`, then each new one, then `stream.end` when the job has ended or is deleted.

    If the job had ended before and has no event after `seq`, the response is 204: an `EventSource` reconnects after
    the end of every stream, and 204 makes it stop (section 9.2.3).

    `is_open` returns whether the client's key is still valid. Once it is not, the stream breaks off, and the client
    gets a 401 when it reconnects.
    """

    def __init__(
        self, event_hub: EventHub, tenant: str, job_id: str, seq: int, is_open: Callable[[], Awaitable[bool]]
    ) -> None:
        super().__init__((), headers=_HEADERS)
        self._event_hub, self._tenant, self._job_id, self._seq = event_hub, tenant, job_id, seq
        self._is_open = is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream.

        Raises `JobNotFoundError` and `UnavailableError` before the first byte, so that the response can be a problem.
        """
        with self._event_hub.follow(self._job_id, reading=True) as channel:
            await channel.wait_until_known(self._tenant)
            if channel.ends_at(self._seq):
                await Response(status_code=204, headers=_HEADERS)(scope, receive, send)
                return
            chunks = _chunks(self._event_hub, channel, self._seq, self._is_open)
            async with aclosing(chunks) as self.body_iterator:
                await super().__call__(scope, receive, send)


async def _chunks(
    event_hub: EventHub, channel: JobChannel, seq: int, is_open: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[bytes]:
    """Yield the body; it holds one batch of events at a time, and a slow client delays only its own next batch."""
    yield _RETRY
    checked_at = time.monotonic()
    while not channel.closed:
        if time.monotonic() - checked_at >= REMEMBERED_SECONDS:
            if not await is_open():
                return
            checked_at = time.monotonic()
        signal, events = channel.signal, channel.events_after(seq)
        if events is None:
            events = await event_hub.read_after(channel, seq)
        if events:
            for event in events:
                yield event.content
            seq = events[-1].seq
        elif channel.ends_at(seq):
            yield _end(channel)
            return
        elif not await wait_for(signal, event_hub.heartbeat_seconds):
            yield _HEARTBEAT


def _end(channel: JobChannel) -> bytes:
    """Return the event `stream.end`. It has no id, so that a client that reconnects after it sends the last seq."""
    return format_sse_event(
        event=LAST_EVENT, data_str=json.dumps({"status": channel.status, "last_seq": channel.seq})
    )
