"""The event hub: all clients that wait for jobs, and one poller that reads the database for all of them.

Hundreds of waiting clients cost one query per poll, like a single one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import Context
from dataclasses import dataclass
from typing import Final

import structlog
from fastapi.sse import format_sse_event
from starlette.concurrency import run_in_threadpool

from api.views.progress import event_view
from jobs.db import Database, Session
from jobs.errors import JobNotFoundError, UnavailableError
from jobs.ids import looks_like
from jobs.models import JobEvent
from jobs.status import TERMINAL
from jobs.store import events

DELETED: Final = "deleted"
"""The status of a job that is no longer in the database."""
WINDOW: Final = 128
"""The number of newest events that all readers of a job share. A reader further behind reads the database."""

_POLL_SECONDS: Final = 0.25
_LONGEST_POLL_SECONDS: Final = 2.0
_log = structlog.get_logger("gantry.api")


@dataclass(frozen=True)
class WireEvent:
    """One event of a job, encoded as a server-sent event."""

    seq: int
    content: bytes


@dataclass(frozen=True)
class JobUpdate:
    """The state of a job, and its events after `after`; no events if no client reads them."""

    seq: int
    status: str
    tenant: str
    after: int = 0
    events: Sequence[WireEvent] = ()


class JobChannel:
    """The state and the newest events of one job, for the clients that follow it.

    A client first takes `signal`, then looks at the state, then waits for that signal. So it misses no change.
    """

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.seq, self.status = 0, ""  # no status: the job was not read yet
        self.tenant = ""
        self.closed = False
        self.followers = self.readers = 0  # readers are the followers that also need the events
        self.signal = asyncio.Event()
        self.window_end = 0
        self._window: deque[WireEvent] = deque(maxlen=WINDOW)
        self._failure: UnavailableError | None = None

    async def wait_until_known(self, tenant: str) -> None:
        """Return when the job was read.

        Raises `JobNotFoundError`, also for a job of another tenant, and `UnavailableError`.
        """
        while not (self.status or self.closed):
            await self.signal.wait()
            if self._failure is not None and not self.status:
                raise self._failure
        if self.status == DELETED or (self.status and self.tenant != tenant):
            raise JobNotFoundError(self.job_id)

    def events_after(self, seq: int) -> Sequence[WireEvent] | None:
        """Return the known events after `seq`; None if some of them are older than the window."""
        window_start = self._window[0].seq - 1 if self._window else self.window_end
        return None if seq < window_start else [event for event in self._window if event.seq > seq]

    def ends_at(self, seq: int) -> bool:
        """Return whether no event will ever follow `seq`."""
        return self.status == DELETED or (self.status in TERMINAL and seq >= self.seq)

    def update(self, update: JobUpdate | None) -> None:
        """Store the state that was read; None for a job that does not exist. Wake the clients if it has changed."""
        before = (self.seq, self.status, self.window_end)
        self._failure = None
        if update is None:
            self.status = DELETED
        else:
            self.seq, self.status, self.tenant = update.seq, update.status, update.tenant
            self._extend_window(update)
        if before != (self.seq, self.status, self.window_end):
            self._wake()

    def fail(self, failure: UnavailableError) -> None:
        """Report `failure` to the clients if the job is not known yet; otherwise they wait until it is read again."""
        self._failure = failure
        if not self.status:
            self._wake()

    def close(self) -> None:
        """Make all clients stop."""
        self.closed = True
        self._wake()

    def _extend_window(self, update: JobUpdate) -> None:
        if not update.events:
            return
        if update.after != self.window_end:
            self._window.clear()
        self._window.extend(update.events)
        self.window_end = update.events[-1].seq

    def _wake(self) -> None:
        signal, self.signal = self.signal, asyncio.Event()
        signal.set()


class EventHub:
    """The channels of all jobs that clients follow, and their poller; one per process.

    Nothing runs while no client follows a job. The hub reads the database and never writes to it.
    """

    heartbeat_seconds: float = 15.0
    """How long a stream may be silent before it sends a heartbeat."""

    def __init__(self, db: Database) -> None:
        self.closed = False
        self._db = db
        self._channels: dict[str, JobChannel] = {}
        self._poll_now = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None

    @contextmanager
    def follow(self, job_id: str, *, reading: bool) -> Iterator[JobChannel]:
        """Follow a job, with its events if `reading`. Raises `JobNotFoundError` if `job_id` is not a job's id."""
        if not looks_like("job", job_id):
            raise JobNotFoundError(job_id)
        channel = self._channels.setdefault(job_id, JobChannel(job_id))
        channel.followers += 1
        channel.readers += reading
        self._ensure_polling(channel, reading)
        try:
            yield channel
        finally:
            channel.followers -= 1
            channel.readers -= reading
            if not channel.followers and self._channels.get(job_id) is channel:
                del self._channels[job_id]

    async def wait_for_change(self, job_id: str, seq: int, seconds: float) -> None:
        """Return when the job has an event after `seq`, when it is deleted, or after `seconds`."""
        with self.follow(job_id, reading=False) as channel, suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not channel.closed and channel.status != DELETED and (not channel.status or channel.seq == seq):
                    await channel.signal.wait()

    async def read_after(self, channel: JobChannel, seq: int) -> Sequence[WireEvent]:
        """Read up to `WINDOW` events after `seq` from the database; none while it is unavailable."""
        try:
            return await run_in_threadpool(self._page, channel.job_id, seq)
        except UnavailableError:
            return ()

    def close(self) -> None:
        """End every stream and every wait now."""
        self.closed = True
        for channel in self._channels.values():
            channel.close()
        self._poll_now.set()

    async def finish(self) -> None:
        """Close, and return when the poller has stopped."""
        self.close()
        if self._poller is not None:
            await asyncio.wait([self._poller])

    def _ensure_polling(self, channel: JobChannel, reading: bool) -> None:
        if self.closed:
            channel.close()
            return
        # A client that waits for a change has just read the job: the next regular poll is soon enough for it.
        if reading and (not channel.status or channel.window_end < channel.seq):
            self._poll_now.set()
        if self._poller is None or self._poller.done():
            # An empty context: the log lines of the poller must not have the id of the request that started it.
            self._poller = asyncio.create_task(self._poll(), context=Context())

    async def _poll(self) -> None:
        pause = _POLL_SECONDS
        try:
            while self._channels and not self.closed:
                self._poll_now.clear()
                pause = _POLL_SECONDS if await self._poll_once() else min(2 * pause, _LONGEST_POLL_SECONDS)
                await wait_for(self._poll_now, pause)
        finally:
            # Wake all clients: this poller will not update their channels any more.
            for channel in self._channels.values():
                channel.close()
            self._channels.clear()

    async def _poll_once(self) -> bool:
        """Read all followed jobs once. Return whether the database was available."""
        channels = list(self._channels.values())
        window_ends = {channel.job_id: channel.window_end if channel.readers else None for channel in channels}
        try:
            updates = await run_in_threadpool(self._read_updates, window_ends)
        except UnavailableError as error:
            _log.warning("streams wait for the database", detail=str(error), jobs=len(channels))
            for channel in channels:
                channel.fail(error)
            return False
        for channel in channels:
            channel.update(updates.get(channel.job_id))
        return True

    def _read_updates(self, window_ends: Mapping[str, int | None]) -> dict[str, JobUpdate]:
        """Return the update of each job in the database; with events after its number, where one is given."""
        with self._db.read() as s:
            positions = events.positions(s, window_ends)
            return {p.job_id: _update_of(s, p, window_ends[p.job_id]) for p in positions}

    def _page(self, job_id: str, seq: int) -> Sequence[WireEvent]:
        with self._db.read() as s:
            return _wire_events(events.page(s, job_id, seq, WINDOW))


async def wait_for(event: asyncio.Event, seconds: float) -> bool:
    """Wait until `event` is set, for at most `seconds`. Return whether it was set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _update_of(s: Session, position: events.EventPosition, window_end: int | None) -> JobUpdate:
    if window_end is None or window_end >= position.seq:
        return JobUpdate(position.seq, position.status, position.tenant)
    after = max(window_end, position.seq - WINDOW)
    # PostgreSQL may return events that are newer than the position. They belong to the next update.
    rows = [row for row in events.page(s, position.job_id, after, WINDOW) if row.seq <= position.seq]
    return JobUpdate(position.seq, position.status, position.tenant, after, _wire_events(rows))


def _wire_events(rows: Collection[JobEvent]) -> list[WireEvent]:
    return [WireEvent(row.seq, _encode(row)) for row in rows]


def _encode(row: JobEvent) -> bytes:
    return format_sse_event(event=row.type, data_str=event_view(row).model_dump_json(), id=str(row.seq))
