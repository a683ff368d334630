"""A job's events as server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final

from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.types import Receive, Scope, Send

from api.auth import REMEMBERED_SECONDS
from api.http.headers import VARY
from api.live.event_hub import EventHub, JobChannel, wait_for

MEDIA_TYPE: Final = "text/event-stream"
LAST_EVENT: Final = "stream.end"

_RETRY: Final = format_sse_event(retry=1000)
_HEARTBEAT: Final = format_sse_event(comment="heartbeat")
# nginx, for one, collects an answer before it passes it on, unless it is told not to.
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", **VARY}


class EventStream(EventSourceResponse):
    """The events after `seq`, then each as it comes, then `stream.end` when the job has ended or is deleted.

    `is_open`: whether the listener may listen still; where not, it breaks off, and who comes again is refused.
    """

    def __init__(
        self, event_hub: EventHub, tenant: str, job_id: str, seq: int, is_open: Callable[[], Awaitable[bool]]
    ) -> None:
        super().__init__((), headers=_HEADERS)
        self._event_hub, self._tenant, self._job_id, self._seq = event_hub, tenant, job_id, seq
        self._is_open = is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises `JobNotFoundError` and `UnavailableError` before the first byte, while they can still be a problem's body."""
        with self._event_hub.follow(self._job_id, reading=True) as channel:
            await channel.known(self._tenant)
            async with aclosing(_told(self._event_hub, channel, self._seq, self._is_open)) as self.body_iterator:
                await super().__call__(scope, receive, send)


async def _told(
    event_hub: EventHub, channel: JobChannel, seq: int, is_open: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[bytes]:
    """Holds no more than a stretch of events: the reader's own pace decides when the next is fetched."""
    yield _RETRY
    looked = time.monotonic()
    while not channel.closed:
        if time.monotonic() - looked >= REMEMBERED_SECONDS:
            if not await is_open():
                return
            looked = time.monotonic()
        bell, news = channel.bell, channel.after(seq)
        if news is None:
            news = await event_hub.past(channel, seq)
        if news:
            for told in news:
                yield told.wire
            seq = news[-1].seq
        elif channel.ends_at(seq):
            yield _end(channel)
            return
        elif not await wait_for(bell, event_hub.heartbeat_seconds):
            yield _HEARTBEAT


def _end(channel: JobChannel) -> bytes:
    """Without an id: who comes again after the job's last event is to get this again."""
    return format_sse_event(
        event=LAST_EVENT, data_str=json.dumps({"status": channel.status, "last_seq": channel.seq})
    )
