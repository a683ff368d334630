"""A PostgreSQL and a Redis or Valkey of our own, on TCP, that may be killed, restarted and wiped."""

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

_DEAD_SECONDS = 30


class FaultyServer:
    """One server program and its data. Killed and started by the thread that made it, or by one that lives on."""

    def __init__(
        self, argv: list[str], folder: Path, port: int, user: str | None, check: Callable[[], object]
    ) -> None:
        self.port = port
        self._argv, self._folder, self._user, self._check = argv, folder, user, check
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run it, on the data that is there, until it answers."""
        give_up = time.monotonic() + _DEAD_SECONDS
        while True:
            self._process = servers.start(self._argv, self._folder / "server.log", self._user)
            if self._answers(give_up):
                return
            # Whoever was killed a moment ago may still hold what this one needs: its shared memory, its port.
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

    def _answers(self, give_up: float) -> bool:
        """Whether it answers; False when it has ended instead."""
        assert self._process is not None
        while self._process.poll() is None:
            try:
                self._check()
            except (psycopg.OperationalError, redis.RedisError):
                assert time.monotonic() < give_up + servers.START_SECONDS, "a server runs and does not answer"
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
        server = FaultyServer(argv, folder, port, None, lambda: _asked(port, "PING"))
        with _running(server):
            yield server


def postgres_url(port: int) -> str:
    """Where the database is, as libpq reads it. Without TLS, which would only take time."""
    return f"postgresql://gantry@127.0.0.1:{port}/postgres?sslmode=disable&gssencmode=disable"


def flush(server: FaultyServer) -> None:
    """Empty the broker's memory while it runs."""
    _asked(server.port, "FLUSHALL")


@contextmanager
def _running(server: FaultyServer) -> Iterator[None]:
    server.start()
    try:
        yield
    finally:
        server.kill()


def _asked(port: int, command: str) -> None:
    with redis.Redis(port=port, socket_timeout=20, socket_connect_timeout=20) as client:
        client.execute_command(command)
