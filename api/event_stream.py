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
from api.headers import VARY
from api.newsroom import Desk, Newsroom, rang

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
        self, newsroom: Newsroom, tenant: str, job_id: str, seq: int, is_open: Callable[[], Awaitable[bool]]
    ) -> None:
        super().__init__((), headers=_HEADERS)
        self._newsroom, self._tenant, self._job_id, self._seq = newsroom, tenant, job_id, seq
        self._is_open = is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises `JobNotFound` and `Unavailable` before the first byte, while they can still be a problem's body."""
        with self._newsroom.follow(self._job_id, reading=True) as desk:
            await desk.known(self._tenant)
            async with aclosing(_told(self._newsroom, desk, self._seq, self._is_open)) as self.body_iterator:
                await super().__call__(scope, receive, send)


async def _told(
    newsroom: Newsroom, desk: Desk, seq: int, is_open: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[bytes]:
    """Holds no more than a stretch of events: the reader's own pace decides when the next is fetched."""
    yield _RETRY
    looked = time.monotonic()
    while not desk.closed:
        if time.monotonic() - looked >= REMEMBERED_SECONDS:
            if not await is_open():
                return
            looked = time.monotonic()
        bell, news = desk.bell, desk.after(seq)
        if news is None:
            news = await newsroom.past(desk, seq)
        if news:
            for told in news:
                yield told.wire
            seq = news[-1].seq
        elif desk.ends_at(seq):
            yield _end(desk)
            return
        elif not await rang(bell, newsroom.heartbeat_seconds):
            yield _HEARTBEAT


def _end(desk: Desk) -> bytes:
    """Without an id: who comes again after the job's last event is to get this again."""
    return format_sse_event(event=LAST_EVENT, data_str=json.dumps({"status": desk.status, "last_seq": desk.seq}))
