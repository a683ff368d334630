"""What an API process holds open: the database, files, cached samples, the sampler and the broker."""

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
from jobs.store.queue_limit import QueueLimit

_MEGABYTE: Final = 1_000_000
_REMEMBERED_JOBS: Final = 1024


@dataclass(frozen=True)
class Services:
    """The open services of one process; the application opens them when it starts and closes them when it stops."""

    settings: Settings
    db: Database
    storage: Storage
    sample_cache: SampleCache
    sampler: SamplerClient
    classes: Callable[[str], tuple[DatasetClass, ...]]
    """The classes that a job's generator draws; empty for an unconditional one.

    A job's spec never changes, so the results are kept, also for jobs that are deleted later. Raises
    `JobNotFoundError` for an unknown job, unless its result was kept.
    """
    celery: object
    """Used by /readyz only: the API sends no message."""
    event_hub: EventHub
    job_reader: JobReader
    queue_limit: QueueLimit
    authenticator: Authenticator

    @classmethod
    def open(cls, settings: Settings) -> Services:
        """Return the services that `settings` describe."""
        db = Database(settings.database)
        return cls(
            settings=settings,
            db=db,
            storage=open_storage(settings),
            sample_cache=SampleCache(settings.samples_cache_dir, settings.samples_cache_mb * _MEGABYTE),
            sampler=SamplerClient(settings.sampler_url),
            classes=lru_cache(_REMEMBERED_JOBS)(lambda job_id: _classes(db, job_id)),
            celery=broker.make_app(settings),
            event_hub=EventHub(db),
            job_reader=JobReader(db, settings.lease_seconds),
            queue_limit=QueueLimit(settings.queue_limit),
            authenticator=Authenticator(db, RateLimiter(settings), required=settings.asks_for_keys),
        )

    async def close(self) -> None:
        """End all streams, then close the connections."""
        await self.event_hub.finish()
        await self.sampler.close()
        self.db.dispose()


def _classes(db: Database, job_id: str) -> tuple[DatasetClass, ...]:
    with db.read() as s:
        job = jobs.get(s, job_id)
        if not from_record(job.spec).conditional:
            return ()
        return datasets.info(datasets.of_job(s, job)).classes
