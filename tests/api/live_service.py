"""A service on a port, in a thread of the test's process; a proxy that cuts connections; and a counter of queries."""

from __future__ import annotations

import random
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

import httpx2
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Engine, event

from api.__main__ import ApiServer
from jobs.runtime.settings import Settings
from tests.api.apps import app_of
from tests.api.conftest import FakeWorker
from tests.ports import free_port

SECONDS = 60


class Live:
    """A service on a port, in a thread of this process, with a fake worker."""

    def __init__(self, app: FastAPI, settings: Settings, port: int | None) -> None:
        self.port = port or free_port()
        self.app = app
        self.server = ApiServer(self.app, settings.model_copy(update={"port": self.port}))
        # On a busy machine uvicorn's 5 s may pass before a test uses a connection again.
        self.server.config.timeout_keep_alive = SECONDS
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx2.Client(base_url=self.url, timeout=SECONDS, trust_env=False, verify=False)
        self.fake_worker = FakeWorker(settings, cast(TestClient, self.http))
        self.thread = threading.Thread(target=self.server.run, name="service")

    def stop(self) -> None:
        """Stop the server as a signal would."""
        self.server.should_exit = True
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()

    @contextmanager
    def stream(self, job_id: str, **headers: str) -> Iterator[Iterator[httpx2.ServerSentEvent]]:
        """Yield the events of a job as they arrive."""
        with self.http.sse(f"/v1/jobs/{job_id}/events", headers=headers) as source:
            assert source.response.status_code == 200
            yield iter(source)


@contextmanager
def serving(settings: Settings, port: int | None = None) -> Iterator[Live]:
    with app_of(settings) as app:
        live = Live(app, settings, port)
        live.thread.start()
        try:
            until(lambda: live.server.started)
            yield live
        finally:
            live.http.close()
            live.stop()
            live.fake_worker.db.dispose()


def until(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    """Return as soon as `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition did not hold within {seconds} s"
        time.sleep(0.02)


def until_silent(seconds: float = 0.7) -> None:
    """Return when this process has executed no statement for `seconds`."""

    def is_silent() -> bool:
        with counted() as statements:
            time.sleep(seconds)
        return statements.count == 0

    until(is_silent)


class CuttingProxy:
    """A proxy between client and server that cuts the first `cuts` connections after some bytes."""

    def __init__(self, port: int, cuts: int, rng: random.Random) -> None:
        self.cut_count, self._port, self._cuts, self._rng = 0, port, cuts, rng
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        # Closing alone would not wake the accept.
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(SECONDS)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                with near, socket.create_connection(("127.0.0.1", self._port)) as far, suppress(OSError):
                    far.sendall(near.recv(65536))
                    self._pass_on(far, near)

    def _pass_on(self, far: socket.socket, near: socket.socket) -> None:
        # Cut after the head of the response: without a head the client would raise instead of reconnecting.
        left = self._rng.randint(500, 1500) if self.cut_count < self._cuts else sys.maxsize
        # The client sends no second request on this connection: if `near` is readable, the client has closed it.
        while near not in select.select([far, near], [], [])[0] and (chunk := far.recv(min(4096, left))):
            near.sendall(chunk)
            left -= len(chunk)
            if not left:
                self.cut_count += 1
                return


@contextmanager
def cutting_proxy(live: Live, cuts: int, rng: random.Random) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(live.port, cuts, rng)
    try:
        yield proxy
    finally:
        proxy.close()


class Statements:
    """Counts the statements that this process executes."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, *_: Any) -> None:
        self.count += 1


@contextmanager
def counted() -> Iterator[Statements]:
    counter = Statements()
    event.listen(Engine, "before_cursor_execute", counter)
    try:
        yield counter
    finally:
        event.remove(Engine, "before_cursor_execute", counter)
