"""`gantry doctor`: each part that the settings name, looked at from here, with no API in between.

It makes nothing: a part that is not there yet is told, with what makes it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx2

from api.up import LOCK, sampler_client
from jobs import broker, clock
from jobs.db import Database
from jobs.errors import MigrationsPending, Unavailable
from jobs.settings import Settings
from jobs.store import workers

Finding = tuple[bool, str]

_SQLITE: Final = "sqlite:///"
_GIB: Final = 2**30
_LITTLE_SPACE_BYTES: Final = _GIB


def run(settings: Settings, *, as_json: bool = False) -> int:
    """Print a line a part; 0 when all are well, else 1."""
    settings = _as_running(settings)
    findings = {name: look(settings) for name, look in _PARTS.items()}
    if as_json:
        print(json.dumps({name: {"ok": ok, "detail": detail} for name, (ok, detail) in findings.items()}, indent=2))
    else:
        for name, (ok, detail) in findings.items():
            print(f"{'ok  ' if ok else 'BAD '} {name:<12} {detail}")
    return 0 if all(ok for ok, _ in findings.values()) else 1


def _as_running(settings: Settings) -> Settings:
    """With the sampler where a `gantry up` on this folder has put it, unless its address was given."""
    lock = settings.data_dir / LOCK
    if "sampler_url" in settings.model_fields_set or not lock.is_file():
        return settings
    word = lock.read_text().strip()
    return settings.model_copy(update={"sampler_url": word}) if word else settings


def _database(settings: Settings) -> Finding:
    if (missing := _missing_file(settings)) is not None:
        return False, f"{missing} is not there yet: `gantry up` or `gantry migrate` makes it"
    db = Database(settings.database)
    try:
        db.check()
    except MigrationsPending as error:
        return False, str(error)
    except Unavailable as error:
        return False, f"{error} Look whether its server runs and GANTRY_DATABASE_URL names it"
    finally:
        db.dispose()
    return True, f"{db.dialect}, schema current"


def _missing_file(settings: Settings) -> Path | None:
    """SQLite's file, when it is not there: to open it would make it."""
    file = Path(settings.database.removeprefix(_SQLITE).split("?")[0])
    return file if settings.database.startswith(_SQLITE) and not file.is_file() else None


def _broker(settings: Settings) -> Finding:
    kind = settings.broker.split(":")[0]
    if kind == "filesystem" and not settings.queue_dir.is_dir():
        return False, f"{settings.queue_dir} is not there yet: `gantry up` makes it"
    try:
        broker.check(broker.make_app(settings))
    except (Unavailable, OSError) as error:
        files = f"{settings.queue_dir} must be writable"
        return False, f"{error} {files if kind == 'filesystem' else 'It must run where GANTRY_BROKER_URL says'}"
    return True, kind


def _sampler(settings: Settings) -> Finding:
    url = settings.sampler_url
    with sampler_client(url, timeout=5) as client:
        try:
            answer = client.get("/healthz")
        except httpx2.TransportError as error:
            return False, f"nobody answers at {url} ({error}): start `gantry up`, or `gantry sampler`"
    if not answer.is_success:
        return False, f"{url} answered {answer.status_code}: GANTRY_SAMPLER_URL must name a gantry sampler"
    return True, f"on {answer.json().get('device', 'an unknown device')}"


def _folder(settings: Settings) -> Finding:
    # The first job makes the folder of artifacts in it.
    folder = settings.artifacts_dir if settings.artifacts_dir.is_dir() else settings.data_dir.absolute()
    if not folder.is_dir():
        return False, f"{folder} is not there yet: `gantry up` or `gantry migrate` makes it"
    if not os.access(folder, os.W_OK | os.X_OK):
        return False, f"{folder} cannot be written: let this user write there, or take another GANTRY_DATA_DIR"
    free = shutil.disk_usage(folder).free
    enough = free > _LITTLE_SPACE_BYTES
    return enough, f"{folder}, {free / _GIB:.1f} GiB free{'' if enough else ': delete jobs, or make room'}"


def _devices(settings: Settings) -> Finding:
    if _missing_file(settings) is not None:
        return False, "not known before there is a database: `gantry up` makes it, and starts a worker"
    db = Database(settings.database)
    try:
        with db.read() as s:
            now, rows = clock.read(s), workers.page(s, limit=200).data
    except Unavailable:
        return False, "not known while the database is down: see there"
    finally:
        db.dispose()
    alive = [row for row in rows if workers.status_of(row, now, settings.lease_seconds) != "lost"]
    names = [device["name"] for row in alive for device in row.devices]
    return bool(alive), ", ".join(names) or "no worker is running: start `gantry up`, or `gantry worker`"


_PARTS: Final[dict[str, Callable[[Settings], Finding]]] = {
    "database": _database,
    "broker": _broker,
    "sampler": _sampler,
    "data folder": _folder,
    "devices": _devices,
}
