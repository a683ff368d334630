"""Polls that arrive at the same time share one read, which begins after all of them have arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from api.live import job_reader
from api.live.job_reader import JobReader
from jobs.db import Database
from jobs.errors import DatabaseUnavailableError, JobNotFoundError
from jobs.models import DEFAULT_TENANT, Job
from jobs.runtime.settings import Settings
from tests.api.conftest import FakeWorker
from tests.api.live_service import counted


@pytest.fixture
def channel(sqlite_settings: Settings) -> Iterator[JobReader]:
    db = Database(sqlite_settings.database)
    yield JobReader(db, 60)
    db.dispose()


async def _all(channel: JobReader, *job_ids: str) -> list[Any]:
    return await asyncio.gather(*(channel.read(job_id, DEFAULT_TENANT) for job_id in job_ids), return_exceptions=True)


def test_a_hundred_polls_at_once_are_one_statement_when_nothing_changed(
    fake_worker: FakeWorker, channel: JobReader
) -> None:
    ids = [fake_worker.train() for _ in range(5)]
    first = asyncio.run(_all(channel, *ids))
    with counted() as statements:
        again = asyncio.run(_all(channel, *ids * 20))
    assert statements.count == 2, "BEGIN, and one query"
    assert again == first * 20


def test_a_poll_of_many_queued_jobs_needs_no_more_statements_than_one(
    fake_worker: FakeWorker, channel: JobReader
) -> None:
    ids = [fake_worker.submit() for _ in range(20)]
    counts = []
    for job_ids in (ids[:1], ids):
        with counted() as statements:
            asyncio.run(_all(channel, *job_ids))
        counts.append(statements.count)
    # A queue that is longer than what was read at first is read deeper: a statement more, however many jobs.
    assert counts[0] <= 6 and counts[1] <= counts[0] + 1


def test_every_change_is_seen(client: TestClient, fake_worker: FakeWorker) -> None:
    job_id = fake_worker.train()
    etags = [client.get(f"/v1/jobs/{job_id}").headers["ETag"]]
    for change in (
        lambda: fake_worker.progress(job_id, 10, loss_d=0.5),
        lambda: fake_worker.checkpoint(job_id, 10),
        lambda: fake_worker.checkpoint(job_id, 20, best=True),
        lambda: fake_worker.find(job_id, "warning"),
        lambda: client.post(f"/v1/jobs/{job_id}/cancel"),
    ):
        change()
        etags.append(client.get(f"/v1/jobs/{job_id}").headers["ETag"])
    # Also a change that no code of the service makes.
    with fake_worker.db.write() as s:
        s.execute(update(Job).where(Job.id == job_id).values(labels={"team": "vision"}))
    etags.append(client.get(f"/v1/jobs/{job_id}").headers["ETag"])
    assert len(set(etags)) == len(etags)


def test_a_request_during_a_read_gets_the_next_read(
    fake_worker: FakeWorker, channel: JobReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = fake_worker.train()
    read_jobs, rounds = channel._read_jobs, list[str]()

    def changes_meanwhile(job_ids: set[str]) -> Any:
        found = read_jobs(job_ids)
        rounds.append("round")
        fake_worker.progress(job_id, 10 * len(rounds))
        return found

    monkeypatch.setattr(channel, "_read_jobs", changes_meanwhile)

    async def ask() -> list[bytes]:
        first = asyncio.create_task(channel.read(job_id, DEFAULT_TENANT))
        while not channel._reading.locked():
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        late = await asyncio.gather(channel.read(job_id, DEFAULT_TENANT), channel.read(job_id, DEFAULT_TENANT))
        return [(await first).content, *(read.content for read in late)]

    first, *late = asyncio.run(ask())
    assert b'"step":0' in first and all(b'"step":10,' in content for content in late)
    assert len(rounds) == 2


def test_errors_of_a_read_reach_the_callers(
    fake_worker: FakeWorker, channel: JobReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = fake_worker.train()
    read, gone = asyncio.run(_all(channel, job_id, "job_01JD2M9Z8V3H4W5X6Y7Z8A9B0C"))
    assert job_id.encode() in read.content and isinstance(gone, JobNotFoundError)

    def fails(job_ids: set[str]) -> Any:
        raise DatabaseUnavailableError("away")

    with monkeypatch.context() as broken:
        broken.setattr(channel, "_read_jobs", fails)
        assert [type(e) for e in asyncio.run(_all(channel, job_id, job_id))] == [DatabaseUnavailableError] * 2
    assert asyncio.run(_all(channel, job_id)) == [read]


def test_the_cache_of_bodies_is_bounded(
    fake_worker: FakeWorker, channel: JobReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_reader, "_MOST_CACHED", 2)
    ids = [fake_worker.train() for _ in range(4)]
    assert [id.encode() in read.content for id, read in zip(ids, asyncio.run(_all(channel, *ids)), strict=True)]
    assert len(channel._cache) == 2
