"""What a process of the face holds open: the record, files, drawn answers, the sampler, and the broker's address."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from api.auth import Authenticator
from api.live.event_hub import EventHub
from api.live.job_reader import JobReader
from api.rate_limits import RateLimiter
from api.samples.cache import SampleCache
from api.samples.sampler_client import SamplerClient
from gan.spec import DatasetClass, from_record
from jobs import broker
from jobs.db import Database
from jobs.runtime.settings import Settings
from jobs.storage import Storage, open_storage
from jobs.store import datasets, jobs

_MEGABYTE: Final = 1_000_000
_REMEMBERED_JOBS: Final = 1024


@dataclass(frozen=True)
class Services:
    """Opened when the app starts, closed when it stops."""

    settings: Settings
    db: Database
    storage: Storage
    answers: SampleCache
    sampler: SamplerClient
    classes: Callable[[str], tuple[DatasetClass, ...]]
    """Those that a job's generator draws; none when it is unconditional. Raises `JobNotFoundError`, but not always: a
    job's spec never changes, so they are remembered, also of a job that is deleted since.
    """
    celery: object
    """Asked by /readyz alone: the face sends no message."""
    event_hub: EventHub
    job_reader: JobReader
    authenticator: Authenticator

    @classmethod
    def open(cls, settings: Settings) -> Services:
        db = Database(settings.database)
        return cls(
            settings,
            db,
            open_storage(settings),
            SampleCache(settings.samples_cache_dir, settings.samples_cache_mb * _MEGABYTE),
            SamplerClient(settings.sampler_url),
            lru_cache(_REMEMBERED_JOBS)(lambda job_id: _classes(db, job_id)),
            broker.make_app(settings),
            EventHub(db),
            JobReader(db, settings.lease_seconds),
            Authenticator(db, RateLimiter(settings), asks=settings.asks_for_keys),
        )

    async def close(self) -> None:
        await self.event_hub.finish()
        await self.sampler.close()
        self.db.dispose()


def _classes(db: Database, job_id: str) -> tuple[DatasetClass, ...]:
    with db.read() as s:
        job = jobs.get(s, job_id)
        if not from_record(job.spec).conditional:
            return ()
        return datasets.info(datasets.of_job(s, job)).classes
