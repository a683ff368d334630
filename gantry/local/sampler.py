"""The address of the sampler on this machine, and an HTTP client for it."""

from __future__ import annotations

import os
from typing import Final

import httpx2

from gantry.local.ports import free_port
from gantry.local.settings import LocalSettings

# The field sun_path of a unix socket's address has 108 bytes with its final zero on Linux, and 104 elsewhere.
_MAX_SOCKET_PATH_BYTES: Final = 103


def with_sampler_url(settings: LocalSettings) -> LocalSettings:
    """Return the settings with an address for the sampler, unless one was given.

    It is a unix socket in the data folder, which only the folder's user can reach. If its path is too long, it is a
    free port of the loopback address.
    """
    if settings.given("sampler_url"):
        return settings
    path = settings.data_dir.absolute() / "sampler.sock"
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH_BYTES:
        return settings.with_values(sampler_url=f"unix:{path}")
    return settings.with_values(sampler_url=f"http://127.0.0.1:{free_port()}")


def sampler_client(url: str, timeout: float) -> httpx2.Client:
    """Return an HTTP client for the sampler at `url`, without a proxy from the environment. `timeout` is in s."""
    path = url.removeprefix("unix:")
    base_url, transport = (
        (url, None) if path == url else ("http://sampler", httpx2.HTTPTransport(uds=path, trust_env=False))
    )
    return httpx2.Client(base_url=base_url, transport=transport, trust_env=False, timeout=timeout)
