"""Private PostgreSQL and Redis or Valkey servers on TCP that may be killed, restarted and flushed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import redis

from tests import servers
from tests.faults.processes import children_of
from tests.ports import free_port

_RESTART_SECONDS = 30


class FaultyServer:
    """A server program and its data.

    It dies with the thread that started it, so `start` must be called from one that lives as long.
    """

    def __init__(
        self, argv: list[str], folder: Path, port: int, user: str | None, check: Callable[[], object]
    ) -> None:
        self.port = port
        self._argv, self._folder, self._user, self._check = argv, folder, user, check
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server on its data, and wait until it answers."""
        give_up = time.monotonic() + _RESTART_SECONDS
        while True:
            self._process = servers.start(self._argv, self._folder / "server.log", self._user)
            if self._wait_for_answer(give_up):
                return
            # A server that was just killed may still hold the shared memory or the port.
            assert time.monotonic() < give_up, (self._folder / "server.log").read_text()[-3000:]
            time.sleep(0.1)

    def kill(self) -> None:
        """Kill the server and the processes that it has started, with SIGKILL."""
        assert self._process is not None
        orphans = children_of(self._process.pid)
        for pid in (self._process.pid, *orphans):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def _wait_for_answer(self, give_up: float) -> bool:
        """Wait for an answer. Return False if the server ends instead."""
        assert self._process is not None
        while self._process.poll() is None:
            try:
                self._check()
            except (psycopg.OperationalError, redis.RedisError):
                assert time.monotonic() < give_up + servers.START_SECONDS, "the server runs but does not answer"
                time.sleep(0.02)
            else:
                return True
        return False


@contextmanager
def postgres() -> Iterator[FaultyServer]:
    """Return a PostgreSQL server. Its committed data survive a kill."""
    with servers.folder_of_its_own() as folder:
        port = free_port()
        options = {"listen_addresses": "127.0.0.1", "port": port, "max_connections": 300}
        argv = servers.postgres_argv(folder, options)
        server = FaultyServer(
            argv,
            folder,
            port,
            servers.unprivileged(),
            lambda: psycopg.connect(postgres_url(port), connect_timeout=2).close(),
        )
        with _running(server):
            yield server


@contextmanager
def broker() -> Iterator[FaultyServer]:
    """Return a Redis or Valkey server without persistence: a kill loses every message."""
    with servers.folder_of_its_own() as folder:
        port = free_port()
        argv = servers.valkey_argv(folder, "--port", str(port), "--bind", "127.0.0.1")
        server = FaultyServer(argv, folder, port, None, lambda: _send_command(port, "PING"))
        with _running(server):
            yield server


def postgres_url(port: int) -> str:
    """Return the URL of the database for libpq, without TLS, to save time."""
    return f"postgresql://gantry@127.0.0.1:{port}/postgres?sslmode=disable&gssencmode=disable"


def flush(server: FaultyServer) -> None:
    """Delete all data of the broker while it runs."""
    _send_command(server.port, "FLUSHALL")


@contextmanager
def _running(server: FaultyServer) -> Iterator[None]:
    server.start()
    try:
        yield
    finally:
        server.kill()


def _send_command(port: int, command: str) -> None:
    with redis.Redis(port=port, socket_timeout=20, socket_connect_timeout=20) as client:
        client.execute_command(command)
