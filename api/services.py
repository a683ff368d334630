"""What a process of the face holds open: the record, files, drawn answers, the sampler, and the broker's address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Request

from api.answers import Answers
from api.jobs_desk import JobsDesk
from api.newsroom import Newsroom
from api.sampler_client import Sampler
from jobs import broker
from jobs.artifacts import Artifacts
from jobs.db import Database
from jobs.settings import Settings

_MEGABYTE: Final = 1_000_000


@dataclass(frozen=True)
class Services:
    """Opened when the app starts, closed when it stops."""

    settings: Settings
    db: Database
    artifacts: Artifacts
    answers: Answers
    sampler: Sampler
    celery: object
    """Asked by /readyz alone: the face sends no message."""
    newsroom: Newsroom
    jobs_desk: JobsDesk

    @classmethod
    def open(cls, settings: Settings) -> Services:
        db = Database(settings.database)
        return cls(
            settings,
            db,
            Artifacts(settings.artifacts_dir),
            Answers(settings.answers_dir, settings.samples_cache_mb * _MEGABYTE),
            Sampler(settings.sampler_url),
            broker.make_app(settings),
            Newsroom(db),
            JobsDesk(db, settings.lease_seconds),
        )

    async def close(self) -> None:
        await self.newsroom.finish()
        await self.sampler.close()
        self.db.dispose()


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def needs_services(dependency: object) -> bool:
    """Whether a route's dependency is that on what is held open here."""
    return dependency is _services


Hall = Annotated[Services, Depends(_services)]
