"""`gantry doctor`: check each part that the settings name from this machine, without the API in between."""

from __future__ import annotations

import json
from typing import Final

import httpx2

from gantry.local.settings import LocalSettings
from gantry.local.settings import run as run_command
from gantry.local.up import LOCK, sampler_client

Check = tuple[bool, str]
"""Whether the part works, and a detail for people."""

_ORDER: Final = ("database", "broker", "sampler", "data folder", "devices")


def run(settings: LocalSettings, *, as_json: bool = False) -> int:
    """Print a line for each part. Returns 0 if all work, else 1. Raises `LocalCommandError`."""
    checks = json.loads(run_command("check", settings.environment))
    ok, detail = _sampler(_sampler_url(settings))
    checks = {name: {**checks, "sampler": {"ok": ok, "detail": detail}}[name] for name in _ORDER}
    if as_json:
        print(json.dumps(checks, indent=2))
    else:
        for name, check in checks.items():
            print(f"{'ok  ' if check['ok'] else 'BAD '} {name:<12} {check['detail']}")
    return 0 if all(check["ok"] for check in checks.values()) else 1


def _sampler_url(settings: LocalSettings) -> str:
    """Return the sampler's address: the given one, else the one that a `gantry up` on this folder chose."""
    lock = settings.data_dir / LOCK
    if settings.given("sampler_url") or not lock.is_file():
        return settings.sampler_url
    return lock.read_text().strip() or settings.sampler_url


def _sampler(url: str) -> Check:
    with sampler_client(url, timeout=5) as client:
        try:
            answer = client.get("/healthz")
        except httpx2.TransportError as error:
            return False, f"nobody answers at {url} ({error}): start `gantry up`, or `gantry sampler`"
    if not answer.is_success:
        return False, f"{url} answered {answer.status_code}: GANTRY_SAMPLER_URL must name a gantry sampler"
    return True, f"on {answer.json().get('device', 'an unknown device')}"
