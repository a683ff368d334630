"""Reads of jobs for clients that poll: requests that arrive during a read share the next one.

Two hundred polling clients cost little more than one, and each still gets a state that was read after its request.
Each read asks the database for the versions of the rows. A response body is reused while the version is the same.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Collection, Mapping
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.concurrency import run_in_threadpool

from api.http.headers import etag_of
from api.views.jobs import job_views, seconds_until_silent
from jobs.db import Database, Session
from jobs.errors import JobNotFoundError
from jobs.status import TERMINAL, Status
from jobs.store import jobs

_MOST_CACHED: Final = 1000


@dataclass(frozen=True)
class JobSnapshot:
    """A job as it was at one moment; `content` is the response body."""

    tenant: str
    content: bytes
    etag: str
    seq: int
    """The number of its last event."""
    ended: bool
    """True if the job cannot change any more, so that it is useless to wait."""


@dataclass
class _Batch:
    """One read of all jobs that were requested while the previous read was in progress."""

    job_ids: set[str] = field(default_factory=set)
    task: asyncio.Task[Mapping[str, JobSnapshot]] | None = None


class JobReader:
    """The reader of jobs, in batches; one per process."""

    def __init__(self, db: Database, lease_seconds: float) -> None:
        self._db, self._lease_seconds = db, lease_seconds
        self._next: _Batch | None = None
        self._reading = asyncio.Lock()
        self._cache: dict[str, tuple[tuple[Any, ...], JobSnapshot]] = {}
        # Until when each body holds, on the monotonic clock: a worker becomes silent without a change of the row.
        self._holds_until: dict[str, float] = {}

    async def read(self, job_id: str, tenant: str) -> JobSnapshot:
        """Return the tenant's job as it was at some moment after this call.

        Raises `JobNotFoundError`, also for a job of another tenant, and `UnavailableError`.
        """
        batch = self._next = self._next or _Batch()
        batch.job_ids.add(job_id)
        if batch.task is None:
            # An empty context: the log lines of the read must not have the id of the request that started it.
            batch.task = asyncio.create_task(self._read_batch(batch), context=Context())
        # A client that disconnects cancels this coroutine. The shield keeps the read alive for the other clients.
        snapshot = (await asyncio.shield(batch.task)).get(job_id)
        if snapshot is None or snapshot.tenant != tenant:
            raise JobNotFoundError(job_id)
        return snapshot

    async def _read_batch(self, batch: _Batch) -> Mapping[str, JobSnapshot]:
        async with self._reading:
            self._next = None
            return await run_in_threadpool(self._read_jobs, batch.job_ids)

    def _read_jobs(self, job_ids: set[str]) -> Mapping[str, JobSnapshot]:
        with self._db.read() as s:
            versions = jobs.row_versions(s, job_ids)
            changed = [job_id for job_id, version in versions.items() if not self._is_current(job_id, version)]
            snapshots = self._render(s, changed) if changed else {}
        for job_id, snapshot in snapshots.items():
            self._cache[job_id] = versions[job_id], snapshot
        for job_id in set(changed) - snapshots.keys():
            self._drop(job_id)  # deleted between the two queries
        result = {job_id: self._cache[job_id][1] for job_id in versions if job_id in self._cache}
        while len(self._cache) > _MOST_CACHED:
            self._drop(next(iter(self._cache)))
        return result

    def _drop(self, job_id: str) -> None:
        self._cache.pop(job_id, None)
        self._holds_until.pop(job_id, None)

    def _is_current(self, job_id: str, version: tuple[Any, ...]) -> bool:
        # The version of a queued job does not show its place in the queue, which changes with other jobs.
        if version[0] == Status.QUEUED or job_id not in self._cache or self._cache[job_id][0] != version:
            return False
        return time.monotonic() < self._holds_until[job_id]

    def _render(self, s: Session, job_ids: Collection[str]) -> dict[str, JobSnapshot]:
        details = list(jobs.fetch_details(s, job_ids).values())
        snapshots, now = {}, time.monotonic()
        for job, view in zip(details, job_views(s, details, self._lease_seconds), strict=True):
            content, row = view.model_dump_json().encode(), job.row
            ended = row.status in TERMINAL
            left = seconds_until_silent(job)
            self._holds_until[row.id] = now + left if left > 0 else math.inf
            snapshots[row.id] = JobSnapshot(row.tenant, content, etag_of(content), row.event_seq, ended)
        return snapshots
