"""Health checks: whether the process is running, and whether the services that it needs are available."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio
from fastapi import APIRouter

from api.auth import OPEN
from api.context import Public
from api.http.errors import NotReadyError
from api.schemas.base import Alive, Part, Ready
from api.services import Services
from jobs import broker
from jobs.errors import BrokerUnavailableError, DatabaseUnavailableError, MigrationsPendingError
from jobs.store import workers

router = APIRouter(tags=["health"])

_TIMEOUT_SECONDS: Final = 6
_WORKERS: Final = "workers"


@router.get("/healthz", dependencies=[OPEN])
async def get_liveness() -> Alive:
    """Return `alive` while the process is running."""
    return Alive()


@router.get("/readyz")
async def get_readiness(context: Public) -> Ready:
    """Return `ready` if the database, its migrations and the broker are available; otherwise 503 with each state.

    Without a worker that takes jobs, it is `degraded`: the API works, and jobs stay queued.
    """
    parts: dict[str, Part] = {}
    async with anyio.create_task_group() as group:
        group.start_soon(_run_check, parts, ("database", "migrations", _WORKERS), _check_database, context)
        group.start_soon(_run_check, parts, ("broker",), _check_broker, context)
    if not all(part.ok for name, part in parts.items() if name != _WORKERS):
        raise NotReadyError({name: part.model_dump() for name, part in sorted(parts.items())})
    return Ready(status="ready" if parts[_WORKERS].ok else "degraded", parts=parts)


async def _run_check(
    parts: dict[str, Part], names: tuple[str, ...], check: Callable[[Services], dict[str, Part]], services: Services
) -> None:
    """Put the result of `check` into `parts`; a part that does not respond in time is down."""
    timeout = Part(ok=False, detail=f"No response within {_TIMEOUT_SECONDS} s.")
    parts.update(dict.fromkeys(names, timeout))
    with anyio.move_on_after(_TIMEOUT_SECONDS):
        parts.update(await anyio.to_thread.run_sync(check, services, abandon_on_cancel=True))


def _check_database(services: Services) -> dict[str, Part]:
    try:
        services.db.check()
        with services.db.read() as s:
            taking = workers.count_taking_jobs(s, services.settings.lease_seconds)
    except DatabaseUnavailableError as error:
        unknown = Part(ok=False, detail="Unknown while the database is unavailable.")
        return {"database": Part(ok=False, detail=str(error)), "migrations": unknown, _WORKERS: unknown}
    except MigrationsPendingError as error:
        unknown = Part(ok=False, detail="Unknown while the schema is not current.")
        return {"database": Part(ok=True), "migrations": Part(ok=False, detail=str(error)), _WORKERS: unknown}
    return {"database": Part(ok=True), "migrations": Part(ok=True), _WORKERS: _workers_part(taking)}


def _workers_part(taking: int) -> Part:
    if taking:
        return Part(ok=True)
    return Part(ok=False, detail="No worker takes jobs, so they stay queued. Start one with `gantry worker`.")


def _check_broker(services: Services) -> dict[str, Part]:
    try:
        broker.check(services.celery)
    except BrokerUnavailableError as error:
        return {"broker": Part(ok=False, detail=str(error))}
    return {"broker": Part(ok=True)}
