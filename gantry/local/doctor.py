"""`gantry doctor`: check each part that the settings name, from this machine and without the API."""

from __future__ import annotations

import json
from typing import Final

import httpx2

from gantry.local.data_folder import read_sampler_url
from gantry.local.sampler import sampler_client
from gantry.local.settings import LocalSettings, run_jobs

_ORDER: Final = ("database", "broker", "sampler", "data folder", "devices")


def run(settings: LocalSettings, *, as_json: bool = False) -> int:
    """Print one line for each part. Return 0 if all parts work, else 1. Raises `LocalCommandError`."""
    checks = json.loads(run_jobs("check", settings.environment))
    works, detail = _check_sampler(read_sampler_url(settings))
    checks["sampler"] = {"ok": works, "detail": detail}
    checks = {name: checks[name] for name in _ORDER}
    if as_json:
        print(json.dumps(checks, indent=2))
    else:
        for name, check in checks.items():
            print(f"{'ok  ' if check['ok'] else 'BAD '} {name:<12} {check['detail']}")
    return 0 if all(check["ok"] for check in checks.values()) else 1


def _check_sampler(url: str) -> tuple[bool, str]:
    """Return whether the sampler at `url` works, and a detail for people."""
    with sampler_client(url, timeout=5) as client:
        try:
            response = client.get("/healthz")
        except httpx2.TransportError as error:
            return False, f"no sampler answers at {url} ({error}): start `gantry up`, or `gantry sampler`"
    if not response.is_success:
        return False, f"{url} answered {response.status_code}: GANTRY_SAMPLER_URL must be the address of a sampler"
    return True, f"on {response.json().get('device', 'an unknown device')}"
