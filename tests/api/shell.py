"""A service for tests: `python -m api` as a process, on SQLite."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gantry.client import ApiError, Client, UnreachableError
from jobs.runtime import process
from jobs.runtime.settings import Settings
from tests import schema
from tests.conftest import small_settings
from tests.ports import free_port


@contextmanager
def service(folder: Path, **values: object) -> Iterator[Settings]:
    """Start `python -m api` and yield its settings when it is ready."""
    settings = small_settings(folder, port=free_port(), **values)
    schema.copy_sqlite(settings)
    server = process.spawn([sys.executable, "-m", "api"], env={**os.environ, **settings.environment()})
    try:
        with Client(url_of(settings)) as client:
            _until_ready(client, server)
        yield settings
    finally:
        assert process.end(server, 60) == 0


def url_of(settings: Settings) -> str:
    return f"http://127.0.0.1:{settings.port}"


def _until_ready(client: Client, server: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        try:
            client.ready()
            return
        except (UnreachableError, ApiError):
            assert server.poll() is None, "the server ended"
            time.sleep(0.1)
    raise AssertionError("the server was not ready within two minutes")
