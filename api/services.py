"""What a process of the face holds open: the record, files, drawn answers, the sampler, and the broker's address."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from api.answers import Answers
from api.auth import Doorkeeper
from api.jobs_desk import JobsDesk
from api.newsroom import Newsroom
from api.rates import Rates
from api.sampler_client import Sampler
from gan.spec import DatasetClass, from_record
from jobs import broker
from jobs.artifacts import Artifacts
from jobs.db import Database
from jobs.settings import Settings
from jobs.store import datasets, jobs

_MEGABYTE: Final = 1_000_000
_REMEMBERED_JOBS: Final = 1024


@dataclass(frozen=True)
class Services:
    """Opened when the app starts, closed when it stops."""

    settings: Settings
    db: Database
    artifacts: Artifacts
    answers: Answers
    sampler: Sampler
    classes: Callable[[str], tuple[DatasetClass, ...]]
    """Those that a job's generator draws; none when it is unconditional. Raises `JobNotFound`, but not always: a
    job's spec never changes, so they are remembered, also of a job that is deleted since.
    """
    celery: object
    """Asked by /readyz alone: the face sends no message."""
    newsroom: Newsroom
    jobs_desk: JobsDesk
    doorkeeper: Doorkeeper

    @classmethod
    def open(cls, settings: Settings) -> Services:
        db = Database(settings.database)
        return cls(
            settings,
            db,
            Artifacts(settings.artifacts_dir),
            Answers(settings.answers_dir, settings.samples_cache_mb * _MEGABYTE),
            Sampler(settings.sampler_url),
            lru_cache(_REMEMBERED_JOBS)(lambda job_id: _classes(db, job_id)),
            broker.make_app(settings),
            Newsroom(db),
            JobsDesk(db, settings.lease_seconds),
            Doorkeeper(db, Rates(settings), asks=settings.asks_for_keys),
        )

    async def close(self) -> None:
        await self.newsroom.finish()
        await self.sampler.close()
        self.db.dispose()


def _classes(db: Database, job_id: str) -> tuple[DatasetClass, ...]:
    with db.read() as s:
        job = jobs.get(s, job_id)
        if not from_record(job.spec).conditional:
            return ()
        return datasets.info(datasets.of_job(s, job)).classes
