"""The service on a port, in a thread of the test's process; what stands between it and a client; what it asks."""

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
from api.app import create_app
from jobs.runtime.settings import Settings
from tests.api.conftest import Hand
from tests.ports import free_port

SECONDS = 60


class Live:
    """The service on a port, in a thread of this process, and a hand that plays the worker."""

    def __init__(self, settings: Settings, port: int | None) -> None:
        self.port = port or free_port()
        self.app: FastAPI = create_app(settings)
        self.server = ApiServer(self.app, settings.model_copy(update={"port": self.port}))
        # A machine that stands still for uvicorn's 5 s would find a connection closed that a test is about to use.
        self.server.config.timeout_keep_alive = SECONDS
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx2.Client(base_url=self.url, timeout=SECONDS, trust_env=False)
        self.hand = Hand(settings, cast(TestClient, self.http))
        self.thread = threading.Thread(target=self.server.run, name="service")

    def stop(self) -> None:
        """Stop the server as a signal would."""
        self.server.should_exit = True
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()

    @contextmanager
    def stream(self, job_id: str, **headers: str) -> Iterator[Iterator[httpx2.ServerSentEvent]]:
        """The events of a job, as they come; not the first word, which is when to come again."""
        with self.http.sse(f"/v1/jobs/{job_id}/events", headers=headers) as source:
            assert source.response.status_code == 200
            told = iter(source)
            assert next(told).retry == 1000
            yield told


@contextmanager
def serving(settings: Settings, port: int | None = None) -> Iterator[Live]:
    live = Live(settings, port)
    live.thread.start()
    try:
        until(lambda: live.server.started)
        yield live
    finally:
        live.http.close()
        live.stop()
        live.hand.db.dispose()


def until(seen: Callable[[], object], seconds: float = SECONDS) -> None:
    """Return as soon as it is so."""
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def until_silent(seconds: float = 0.7) -> None:
    """Return once no database of this process has been asked anything for so long."""

    def nothing_asked() -> bool:
        with counted() as statements:
            time.sleep(seconds)
        return statements.count == 0

    until(nothing_asked)


class Scissors:
    """Stands between client and server, and cuts the first `cuts` connections after some bytes."""

    def __init__(self, port: int, cuts: int, rng: random.Random) -> None:
        self.made, self._port, self._cuts, self._rng = 0, port, cuts, rng
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
        # Past the head of the answer: who never got one has not been cut off, but turned away.
        left = self._rng.randint(500, 1500) if self.made < self._cuts else sys.maxsize
        # Nothing more is asked on this connection: that `near` can be read means that it is over.
        while near not in select.select([far, near], [], [])[0] and (chunk := far.recv(min(4096, left))):
            near.sendall(chunk)
            left -= len(chunk)
            if not left:
                self.made += 1
                return


@contextmanager
def scissors(live: Live, cuts: int, rng: random.Random) -> Iterator[Scissors]:
    between = Scissors(live.port, cuts, rng)
    try:
        yield between
    finally:
        between.close()


class Statements:
    """Counts what is asked of any database of this process."""

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
