"""The desk where jobs are asked for: whoever asks while it reads is served by the next read, all at once.

Two hundred clients that poll cost little more than one, and each answer is still read after it was asked for. The
record is asked each time; what is kept is the body that was made of what it said, for as long as it says the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.concurrency import run_in_threadpool

from api import views
from api.http.headers import etag_of
from jobs.db import Database, Session
from jobs.errors import JobNotFoundError
from jobs.status import TERMINAL, Status
from jobs.store import jobs

_MOST_KEPT: Final = 1000


@dataclass(frozen=True)
class JobSnapshot:
    """A job's body, whose it is, its last event, and whether it has ended: then it changes no more, and nobody need
    wait.
    """

    tenant: str
    content: bytes
    etag: str
    seq: int
    ended: bool


@dataclass
class _Batch:
    """One read of all the jobs that were asked for while the one before it was under way."""

    job_ids: set[str] = field(default_factory=set)
    task: asyncio.Task[Mapping[str, JobSnapshot]] | None = None


class JobReader:
    """One a process."""

    def __init__(self, db: Database, lease_seconds: float) -> None:
        self._db, self._lease_seconds = db, lease_seconds
        self._next: _Batch | None = None
        self._reading = asyncio.Lock()
        self._kept: dict[str, tuple[tuple[Any, ...], JobSnapshot]] = {}

    async def read(self, job_id: str, tenant: str) -> JobSnapshot:
        """The tenant's job as it is on record at some moment after this call. Raises `JobNotFoundError`, `UnavailableError`."""
        asked = self._next = self._next or _Batch()
        asked.job_ids.add(job_id)
        if asked.task is None:
            # A context of its own: it is nobody's request, and no request's id belongs into its log lines.
            asked.task = asyncio.create_task(self._serve(asked), context=Context())
        # Who hangs up takes the answer from nobody else.
        found = (await asyncio.shield(asked.task)).get(job_id)
        if found is None or found.tenant != tenant:
            raise JobNotFoundError(job_id)
        return found

    async def _serve(self, asked: _Batch) -> Mapping[str, JobSnapshot]:
        async with self._reading:
            self._next = None
            return await run_in_threadpool(self._look, asked.job_ids)

    def _look(self, job_ids: set[str]) -> Mapping[str, JobSnapshot]:
        with self._db.read() as s:
            stamps = jobs.row_versions(s, job_ids)
            changed = [job_id for job_id, stamp in stamps.items() if not self._is_kept(job_id, stamp)]
            fresh = self._fresh(s, changed) if changed else {}
        for job_id, read in fresh.items():
            self._kept[job_id] = stamps[job_id], read
        for gone in set(changed) - fresh.keys():
            self._kept.pop(gone, None)  # deleted between the two queries
        found = {job_id: self._kept[job_id][1] for job_id in stamps if job_id in self._kept}
        while len(self._kept) > _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        return found

    def _is_kept(self, job_id: str, stamp: tuple[Any, ...]) -> bool:
        # A place in the queue changes with other jobs.
        return stamp[0] != Status.QUEUED and job_id in self._kept and self._kept[job_id][0] == stamp

    def _fresh(self, s: Session, job_ids: Collection[str]) -> dict[str, JobSnapshot]:
        shown = list(jobs.fetch_details(s, job_ids).values())
        found = {}
        for job, view in zip(shown, views.job_views(s, shown, self._lease_seconds), strict=True):
            content = view.model_dump_json().encode()
            row = job.row
            found[row.id] = JobSnapshot(row.tenant, content, etag_of(content), row.event_seq, row.status in TERMINAL)
        return found
