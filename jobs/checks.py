"""Checks of the parts that the settings name: database, broker, storage, workers. `gantry doctor` prints them.

A check changes nothing. If a part is missing, its detail says which command creates it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from jobs import broker, clock, hint_files
from jobs.db import Database
from jobs.errors import MigrationsPendingError, UnavailableError
from jobs.runtime.settings import Settings
from jobs.storage import open_storage
from jobs.store import workers

Check = tuple[bool, str]
"""Whether the part works, and a detail for people."""

_MAX_WORKERS: Final = 200


def check_all(settings: Settings) -> dict[str, Check]:
    """Return the result of every check, by the name of the part."""
    return {name: check(settings) for name, check in _CHECKS.items()}


def _check_database(settings: Settings) -> Check:
    if (missing := _missing_file(settings)) is not None:
        return False, f"{missing} does not exist yet: `gantry up` or `gantry migrate` creates it"
    db = Database(settings.database)
    try:
        db.check()
    except MigrationsPendingError as error:
        return False, str(error)
    except UnavailableError as error:
        return False, f"{error} Check that its server runs, and that GANTRY_DATABASE_URL is its address"
    finally:
        db.dispose()
    return True, f"{db.dialect}, schema current"


def _missing_file(settings: Settings) -> Path | None:
    """Return the path of SQLite's file if it does not exist. To open the database would create it."""
    file = settings.sqlite_file
    return file if file is not None and not file.is_file() else None


def _check_broker(settings: Settings) -> Check:
    kind = settings.broker.split(":")[0]
    if kind == "filesystem" and not settings.queue_dir.is_dir():
        return False, f"{settings.queue_dir} does not exist yet: `gantry up` creates it"
    try:
        broker.check(broker.make_app(settings))
    except (UnavailableError, OSError) as error:
        if kind == "filesystem":
            return False, f"{error} {settings.queue_dir} must be writable"
        return False, f"{error} Check that its server runs, and that GANTRY_BROKER_URL is its address"
    aside = hint_files.damaged(settings.queue_dir) if kind == "filesystem" else []
    return True, kind + (f"; {len(aside)} damaged files were set aside in {aside[0].parent}" if aside else "")


def _check_storage(settings: Settings) -> Check:
    return open_storage(settings).check()


def _check_devices(settings: Settings) -> Check:
    if _missing_file(settings) is not None:
        return False, "unknown, because there is no database yet: `gantry up` creates it and starts a worker"
    db = Database(settings.database)
    try:
        with db.read() as s:
            now, rows = clock.read(s), workers.page(s, limit=_MAX_WORKERS).data
    except UnavailableError:
        return False, "unknown, because the database does not answer"
    finally:
        db.dispose()
    taking = [row for row in rows if workers.status_of(row, now, settings.lease_seconds) in ("idle", "busy")]
    if not taking:
        return False, "no worker takes jobs: start `gantry up`, or `gantry worker`"
    return True, ", ".join(device["name"] for row in taking for device in row.devices)


_CHECKS: Final[dict[str, Callable[[Settings], Check]]] = {
    "database": _check_database,
    "broker": _check_broker,
    "data folder": _check_storage,
    "devices": _check_devices,
}
