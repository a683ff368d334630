"""Whether the process is alive, and whether all it needs is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio
from fastapi import APIRouter

from api.auth import OPEN
from api.context import Public
from api.http.errors import NotReadyError
from api.schemas import Alive, Part, Ready
from api.services import Services
from jobs import broker
from jobs.errors import BrokerUnavailableError, DatabaseUnavailableError, MigrationsPendingError

router = APIRouter(tags=["health"])

_PATIENCE_SECONDS: Final = 6


@router.get("/healthz", dependencies=[OPEN])
async def healthz() -> Alive:
    """The process answers."""
    return Alive()


@router.get("/readyz")
async def readyz(context: Public) -> Ready:
    """Database, migrations and broker are there; else 503 that names the part that is not."""
    parts: dict[str, Part] = {}
    async with anyio.create_task_group() as group:
        group.start_soon(_within, parts, ("database", "migrations"), _check_database, context)
        group.start_soon(_within, parts, ("broker",), _check_broker, context)
    if not all(part.ok for part in parts.values()):
        raise NotReadyError({name: part.model_dump() for name, part in sorted(parts.items())})
    return Ready(parts=parts)


async def _within(
    parts: dict[str, Part], names: tuple[str, ...], check: Callable[[Services], dict[str, Part]], context: Services
) -> None:
    """Put what `check` finds into `parts`; what does not answer in time is down."""
    late = Part(ok=False, detail=f"No answer within {_PATIENCE_SECONDS} s.")
    parts.update(dict.fromkeys(names, late))
    with anyio.move_on_after(_PATIENCE_SECONDS):
        parts.update(await anyio.to_thread.run_sync(check, context, abandon_on_cancel=True))


def _check_database(context: Services) -> dict[str, Part]:
    try:
        context.db.check()
    except DatabaseUnavailableError as error:
        unknown = Part(ok=False, detail="Not known while the database is down.")
        return {"database": Part(ok=False, detail=str(error)), "migrations": unknown}
    except MigrationsPendingError as error:
        return {"database": Part(ok=True), "migrations": Part(ok=False, detail=str(error))}
    return {"database": Part(ok=True), "migrations": Part(ok=True)}


def _check_broker(context: Services) -> dict[str, Part]:
    try:
        broker.check(context.celery)
    except BrokerUnavailableError as error:
        return {"broker": Part(ok=False, detail=str(error))}
    return {"broker": Part(ok=True)}
