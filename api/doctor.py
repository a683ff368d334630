"""`gantry doctor`: each part that the settings name, looked at from here, with no API in between."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

import httpx2

from jobs import broker, clock
from jobs.artifacts import Artifacts
from jobs.db import Database
from jobs.errors import Unavailable
from jobs.settings import Settings
from jobs.store import workers

Finding = tuple[bool, str]

_GIB: Final = 2**30
_LITTLE_SPACE_BYTES: Final = _GIB


def run(settings: Settings, *, as_json: bool = False) -> int:
    """Print a line a part; 0 when all are well, else 1."""
    findings = {name: look(settings) for name, look in _PARTS.items()}
    if as_json:
        print(json.dumps({name: {"ok": ok, "detail": detail} for name, (ok, detail) in findings.items()}, indent=2))
    else:
        for name, (ok, detail) in findings.items():
            print(f"{'ok  ' if ok else 'BAD '} {name:<12} {detail}")
    return 0 if all(ok for ok, _ in findings.values()) else 1


def _database(settings: Settings) -> Finding:
    db = Database(settings.database)
    try:
        db.check()
    except Unavailable as error:
        return False, str(error)
    finally:
        db.dispose()
    return True, f"{db.dialect}, schema current"


def _broker(settings: Settings) -> Finding:
    kind = settings.broker.split(":")[0]
    try:
        broker.check(broker.make_app(settings))
    except (Unavailable, OSError) as error:
        return False, str(error)
    return True, kind


def _sampler(settings: Settings) -> Finding:
    url = settings.sampler_url
    path = url.removeprefix("unix:") if url.startswith("unix:") else None
    transport = httpx2.HTTPTransport(uds=path) if path else None
    with httpx2.Client(transport=transport, trust_env=False, timeout=5) as client:
        try:
            answer = client.get(f"{'http://sampler' if path else url}/healthz")
        except httpx2.TransportError as error:
            return False, f"nobody answers at {url} ({error})"
    if not answer.is_success:
        return False, f"{url} answered {answer.status_code}"
    return True, f"on {answer.json().get('device', 'an unknown device')}"


def _folder(settings: Settings) -> Finding:
    probe = settings.artifacts_dir / ".doctor"
    try:
        free = Artifacts(settings.artifacts_dir).free_bytes()
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return False, f"{settings.artifacts_dir} cannot be written: {error.strerror}"
    return free > _LITTLE_SPACE_BYTES, f"{settings.artifacts_dir}, {free / _GIB:.1f} GiB free"


def _devices(settings: Settings) -> Finding:
    db = Database(settings.database)
    try:
        with db.read() as s:
            now, rows = clock.read(s), workers.page(s, limit=200).data
    except Unavailable:
        return False, "not known while the database is down"
    finally:
        db.dispose()
    alive = [row for row in rows if workers.status_of(row, now, settings.lease_seconds) != "lost"]
    names = [device["name"] for row in alive for device in row.devices]
    return bool(alive), ", ".join(names) or "no worker is running"


_PARTS: Final[dict[str, Callable[[Settings], Finding]]] = {
    "database": _database,
    "broker": _broker,
    "sampler": _sampler,
    "data folder": _folder,
    "devices": _devices,
}
