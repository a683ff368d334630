"""Who listens to which job, and the one poller that asks the record for all of them: hundreds cost what one costs."""

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

from api import views
from jobs.db import Database, Session
from jobs.errors import JobNotFoundError, UnavailableError
from jobs.ids import looks_like
from jobs.models import JobEvent
from jobs.status import TERMINAL
from jobs.store import events

DELETED: Final = "deleted"
"""The status of a job that is on record no more."""
WINDOW: Final = 128
"""Newest events of a job that all its readers share; who is further behind reads the record by itself."""

_POLL_SECONDS: Final = 0.25
_LONGEST_PAUSE_SECONDS: Final = 2.0
_log = structlog.get_logger("gantry.api")


@dataclass(frozen=True)
class WireEvent:
    """One event, as it goes over the wire."""

    seq: int
    wire: bytes


@dataclass(frozen=True)
class JobUpdate:
    """How a job stands; `told` are its events after `base`, none where nobody reads them."""

    seq: int
    status: str
    tenant: str
    base: int = 0
    told: Sequence[WireEvent] = ()


class JobChannel:
    """One job that somebody listens to. Whoever waits takes `bell` first, then looks, then waits for that bell."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.seq, self.status = 0, ""  # no status: nobody has looked yet
        self.tenant = ""
        self.closed = False
        self.listeners = self.readers = 0
        self.bell = asyncio.Event()
        self.told_to = 0
        self._window: deque[WireEvent] = deque(maxlen=WINDOW)
        self._failure: UnavailableError | None = None

    async def known(self, tenant: str) -> None:
        """Return when the job has been looked up. Raises `JobNotFoundError`, also for another tenant's; `UnavailableError`."""
        while not (self.status or self.closed):
            await self.bell.wait()
            if self._failure is not None and not self.status:
                raise self._failure
        if self.status == DELETED or (self.status and self.tenant != tenant):
            raise JobNotFoundError(self.job_id)

    def after(self, seq: int) -> Sequence[WireEvent] | None:
        """What is known past `seq`; None where that is further back than what is kept here."""
        floor = self._window[0].seq - 1 if self._window else self.told_to
        return None if seq < floor else [told for told in self._window if told.seq > seq]

    def ends_at(self, seq: int) -> bool:
        """Whether nothing will ever follow `seq`."""
        return self.status == DELETED or (self.status in TERMINAL and seq >= self.seq)

    def hear(self, news: JobUpdate | None) -> None:
        """What the record says; None: the job is not there."""
        before = (self.seq, self.status, self.told_to)
        self._failure = None
        if news is None:
            self.status = DELETED
        else:
            self.seq, self.status, self.tenant = news.seq, news.status, news.tenant
            self._keep(news)
        if before != (self.seq, self.status, self.told_to):
            self._ring()

    def fail(self, failure: UnavailableError) -> None:
        """The record cannot be read: who knows the job waits on, who does not is told."""
        self._failure = failure
        if not self.status:
            self._ring()

    def close(self) -> None:
        """Send everybody home."""
        self.closed = True
        self._ring()

    def _keep(self, news: JobUpdate) -> None:
        if not news.told:
            return
        if news.base != self.told_to:
            self._window.clear()
        self._window.extend(news.told)
        self.told_to = news.told[-1].seq

    def _ring(self) -> None:
        rung, self.bell = self.bell, asyncio.Event()
        rung.set()


class EventHub:
    """One a process. Nothing runs in it while nobody listens; it asks the record and never writes."""

    heartbeat_seconds: float = 15.0
    """Of silence on a stream, after which it says that it is still there."""

    def __init__(self, db: Database) -> None:
        self.closed = False
        self._db = db
        self._channels: dict[str, JobChannel] = {}
        self._wanted = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None

    @contextmanager
    def follow(self, job_id: str, *, reading: bool) -> Iterator[JobChannel]:
        """Listen to a job; `reading`: to its events too. Raises `JobNotFoundError` where that is no job's id."""
        if not looks_like("job", job_id):
            raise JobNotFoundError(job_id)
        channel = self._channels.setdefault(job_id, JobChannel(job_id))
        channel.listeners += 1
        channel.readers += reading
        self._wake(channel, reading)
        try:
            yield channel
        finally:
            channel.listeners -= 1
            channel.readers -= reading
            if not channel.listeners and self._channels.get(job_id) is channel:
                del self._channels[job_id]

    async def changed(self, job_id: str, seq: int, seconds: float) -> None:
        """Return when the job has an event past `seq`, when it is gone, or after `seconds`."""
        with self.follow(job_id, reading=False) as channel, suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not channel.closed and channel.status != DELETED and (not channel.status or channel.seq == seq):
                    await channel.bell.wait()

    async def past(self, channel: JobChannel, seq: int) -> Sequence[WireEvent]:
        """A stretch of the record itself after `seq`; nothing while it cannot be read."""
        try:
            return await run_in_threadpool(self._page, channel.job_id, seq)
        except UnavailableError:
            return ()

    def close(self) -> None:
        """End every stream and every wait, now."""
        self.closed = True
        for channel in self._channels.values():
            channel.close()
        self._wanted.set()

    async def finish(self) -> None:
        """Close, and return when nothing is asked of the record any more."""
        self.close()
        if self._poller is not None:
            await asyncio.wait([self._poller])

    def _wake(self, channel: JobChannel, reading: bool) -> None:
        if self.closed:
            channel.close()
            return
        # Who waits for a change has just seen the job, and is served by the next look in its turn.
        if reading and (not channel.status or channel.told_to < channel.seq):
            self._wanted.set()
        if self._poller is None or self._poller.done():
            # A context of its own: it is nobody's request, and no request's id belongs into its log lines.
            self._poller = asyncio.create_task(self._poll(), context=Context())

    async def _poll(self) -> None:
        pause = _POLL_SECONDS
        try:
            while self._channels and not self.closed:
                self._wanted.clear()
                pause = _POLL_SECONDS if await self._look() else min(2 * pause, _LONGEST_PAUSE_SECONDS)
                await wait_for(self._wanted, pause)
        finally:
            # Whatever ended this: nobody may wait for what nobody looks up any more.
            for channel in self._channels.values():
                channel.close()
            self._channels.clear()

    async def _look(self) -> bool:
        """Ask the record once for every desk; whether it answered."""
        channels = list(self._channels.values())
        asked = {channel.job_id: channel.told_to if channel.readers else None for channel in channels}
        try:
            found = await run_in_threadpool(self._news, asked)
        except UnavailableError as error:
            _log.warning("streams wait for the record", detail=str(error), jobs=len(channels))
            for channel in channels:
                channel.fail(error)
            return False
        for channel in channels:
            channel.hear(found.get(channel.job_id))
        return True

    def _news(self, asked: Mapping[str, int | None]) -> dict[str, JobUpdate]:
        """Of each job that is on record; with its events past the number given, where one is."""
        with self._db.read() as s:
            return {p.job_id: _news_of(s, p, asked[p.job_id]) for p in events.positions(s, asked)}

    def _page(self, job_id: str, seq: int) -> Sequence[WireEvent]:
        with self._db.read() as s:
            return _told(events.page(s, job_id, seq, WINDOW))


async def wait_for(bell: asyncio.Event, seconds: float) -> bool:
    """Whether `bell` rings within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await bell.wait()
    except TimeoutError:
        return False
    return True


def _news_of(s: Session, pulse: events.EventPosition, told_to: int | None) -> JobUpdate:
    if told_to is None or told_to >= pulse.seq:
        return JobUpdate(pulse.seq, pulse.status, pulse.tenant)
    base = max(told_to, pulse.seq - WINDOW)
    # PostgreSQL may show events that are younger than the pulse; those are news of the next look.
    rows = [row for row in events.page(s, pulse.job_id, base, WINDOW) if row.seq <= pulse.seq]
    return JobUpdate(pulse.seq, pulse.status, pulse.tenant, base, _told(rows))


def _told(rows: Collection[JobEvent]) -> list[WireEvent]:
    return [WireEvent(row.seq, _wire(row)) for row in rows]


def _wire(row: JobEvent) -> bytes:
    return format_sse_event(event=row.type, data_str=views.event(row).model_dump_json(), id=str(row.seq))
