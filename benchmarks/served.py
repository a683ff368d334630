"""A service of its own for a benchmark: `gantry up` in an empty folder, started, asked over HTTP, and stopped."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gantry.client import Client, UnreachableError
from gantry.local.ports import free_port
from jobs.runtime.process import end, spawn

_STARTING_SECONDS: Final = 120


@contextmanager
def service(folder: Path, threads: int) -> Iterator[tuple[Client, str]]:
    """`gantry up` in `folder`, ready, and its address; its trainers have so many threads."""
    port = free_port()
    argv = [sys.executable, "-m", "gantry", "up", "--port", str(port), "--data", str(folder / "data")]
    environment = {**os.environ, "GANTRY_TRAINER_THREADS": str(threads)}
    with (folder / "up.log").open("wb") as log:
        up = spawn(argv, env=environment, stdout=log, stderr=log)
    try:
        with Client(url := f"http://127.0.0.1:{port}") as client:
            _wait(client, up, folder / "up.log")
            yield client, url
    finally:
        end(up, grace=60)


def _wait(client: Client, up: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _STARTING_SECONDS
    while time.monotonic() < deadline and up.poll() is None:
        try:
            if client.ready() and client.workers()["data"]:
                return
        except UnreachableError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"The service did not start:\n{log.read_text()}")
