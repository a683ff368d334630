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
from jobs.errors import JobNotFound, Unavailable
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
class Told:
    """One event, as it goes over the wire."""

    seq: int
    wire: bytes


@dataclass(frozen=True)
class News:
    """How a job stands; `told` are its events after `base`, none where nobody reads them."""

    seq: int
    status: str
    tenant: str
    base: int = 0
    told: Sequence[Told] = ()


class Desk:
    """One job that somebody listens to. Whoever waits takes `bell` first, then looks, then waits for that bell."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.seq, self.status = 0, ""  # no status: nobody has looked yet
        self.tenant = ""
        self.closed = False
        self.listeners = self.readers = 0
        self.bell = asyncio.Event()
        self.told_to = 0
        self._window: deque[Told] = deque(maxlen=WINDOW)
        self._failure: Unavailable | None = None

    async def known(self, tenant: str) -> None:
        """Return when the job has been looked up. Raises `JobNotFound`, also for another tenant's; `Unavailable`."""
        while not (self.status or self.closed):
            await self.bell.wait()
            if self._failure is not None and not self.status:
                raise self._failure
        if self.status == DELETED or (self.status and self.tenant != tenant):
            raise JobNotFound(self.job_id)

    def after(self, seq: int) -> Sequence[Told] | None:
        """What is known past `seq`; None where that is further back than what is kept here."""
        floor = self._window[0].seq - 1 if self._window else self.told_to
        return None if seq < floor else [told for told in self._window if told.seq > seq]

    def ends_at(self, seq: int) -> bool:
        """Whether nothing will ever follow `seq`."""
        return self.status == DELETED or (self.status in TERMINAL and seq >= self.seq)

    def hear(self, news: News | None) -> None:
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

    def fail(self, failure: Unavailable) -> None:
        """The record cannot be read: who knows the job waits on, who does not is told."""
        self._failure = failure
        if not self.status:
            self._ring()

    def close(self) -> None:
        """Send everybody home."""
        self.closed = True
        self._ring()

    def _keep(self, news: News) -> None:
        if not news.told:
            return
        if news.base != self.told_to:
            self._window.clear()
        self._window.extend(news.told)
        self.told_to = news.told[-1].seq

    def _ring(self) -> None:
        rung, self.bell = self.bell, asyncio.Event()
        rung.set()


class Newsroom:
    """One a process. Nothing runs in it while nobody listens; it asks the record and never writes."""

    heartbeat_seconds: float = 15.0
    """Of silence on a stream, after which it says that it is still there."""

    def __init__(self, db: Database) -> None:
        self.closed = False
        self._db = db
        self._desks: dict[str, Desk] = {}
        self._wanted = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None

    @contextmanager
    def follow(self, job_id: str, *, reading: bool) -> Iterator[Desk]:
        """Listen to a job; `reading`: to its events too. Raises `JobNotFound` where that is no job's id."""
        if not looks_like("job", job_id):
            raise JobNotFound(job_id)
        desk = self._desks.setdefault(job_id, Desk(job_id))
        desk.listeners += 1
        desk.readers += reading
        self._wake(desk, reading)
        try:
            yield desk
        finally:
            desk.listeners -= 1
            desk.readers -= reading
            if not desk.listeners and self._desks.get(job_id) is desk:
                del self._desks[job_id]

    async def changed(self, job_id: str, seq: int, seconds: float) -> None:
        """Return when the job has an event past `seq`, when it is gone, or after `seconds`."""
        with self.follow(job_id, reading=False) as desk, suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not desk.closed and desk.status != DELETED and (not desk.status or desk.seq == seq):
                    await desk.bell.wait()

    async def past(self, desk: Desk, seq: int) -> Sequence[Told]:
        """A stretch of the record itself after `seq`; nothing while it cannot be read."""
        try:
            return await run_in_threadpool(self._page, desk.job_id, seq)
        except Unavailable:
            return ()

    def close(self) -> None:
        """End every stream and every wait, now."""
        self.closed = True
        for desk in self._desks.values():
            desk.close()
        self._wanted.set()

    async def finish(self) -> None:
        """Close, and return when nothing is asked of the record any more."""
        self.close()
        if self._poller is not None:
            await asyncio.wait([self._poller])

    def _wake(self, desk: Desk, reading: bool) -> None:
        if self.closed:
            desk.close()
            return
        # Who waits for a change has just seen the job, and is served by the next look in its turn.
        if reading and (not desk.status or desk.told_to < desk.seq):
            self._wanted.set()
        if self._poller is None or self._poller.done():
            # A context of its own: it is nobody's request, and no request's id belongs into its log lines.
            self._poller = asyncio.create_task(self._poll(), context=Context())

    async def _poll(self) -> None:
        pause = _POLL_SECONDS
        try:
            while self._desks and not self.closed:
                self._wanted.clear()
                pause = _POLL_SECONDS if await self._look() else min(2 * pause, _LONGEST_PAUSE_SECONDS)
                await rang(self._wanted, pause)
        finally:
            # Whatever ended this: nobody may wait for what nobody looks up any more.
            for desk in self._desks.values():
                desk.close()
            self._desks.clear()

    async def _look(self) -> bool:
        """Ask the record once for every desk; whether it answered."""
        desks = list(self._desks.values())
        asked = {desk.job_id: desk.told_to if desk.readers else None for desk in desks}
        try:
            found = await run_in_threadpool(self._news, asked)
        except Unavailable as error:
            _log.warning("streams wait for the record", detail=str(error), jobs=len(desks))
            for desk in desks:
                desk.fail(error)
            return False
        for desk in desks:
            desk.hear(found.get(desk.job_id))
        return True

    def _news(self, asked: Mapping[str, int | None]) -> dict[str, News]:
        """Of each job that is on record; with its events past the number given, where one is."""
        with self._db.read() as s:
            return {p.job_id: _news_of(s, p, asked[p.job_id]) for p in events.pulses(s, asked)}

    def _page(self, job_id: str, seq: int) -> Sequence[Told]:
        with self._db.read() as s:
            return _told(events.page(s, job_id, seq, WINDOW))


async def rang(bell: asyncio.Event, seconds: float) -> bool:
    """Whether `bell` rings within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await bell.wait()
    except TimeoutError:
        return False
    return True


def _news_of(s: Session, pulse: events.Pulse, told_to: int | None) -> News:
    if told_to is None or told_to >= pulse.seq:
        return News(pulse.seq, pulse.status, pulse.tenant)
    base = max(told_to, pulse.seq - WINDOW)
    # PostgreSQL may show events that are younger than the pulse; those are news of the next look.
    rows = [row for row in events.page(s, pulse.job_id, base, WINDOW) if row.seq <= pulse.seq]
    return News(pulse.seq, pulse.status, pulse.tenant, base, _told(rows))


def _told(rows: Collection[JobEvent]) -> list[Told]:
    return [Told(row.seq, _wire(row)) for row in rows]


def _wire(row: JobEvent) -> bytes:
    return format_sse_event(event=row.type, data_str=views.event(row).model_dump_json(), id=str(row.seq))
