"""A request whose response is lost is sent again, and creates one object."""

from __future__ import annotations

import itertools
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from gantry.client import Client
from jobs.runtime.settings import Settings
from tests.api.shell import url_of


@contextmanager
def _losing_responses(port: int) -> Iterator[str]:
    """Yield the URL of a proxy of the service that drops the response of every other connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_serve_every_other, args=(server, port))
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        # Closing the socket alone would not end `accept`.
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def _serve_every_other(server: socket.socket, port: int) -> None:
    with suppress(OSError):
        for drops in itertools.cycle((True, False)):
            client, _ = server.accept()
            with client, socket.create_connection(("127.0.0.1", port)) as service:
                _forward(client, service, drops=drops)


def _forward(client: socket.socket, service: socket.socket, *, drops: bool) -> None:
    other = {client: service, service: client}
    while True:
        for ready in select.select(other, [], [])[0]:
            data = ready.recv(65536)
            if not data or (ready is service and drops):
                return
            other[ready].sendall(data)


def test_a_request_whose_response_is_lost_is_repeated_and_creates_one_job(served: Settings) -> None:
    with Client(url_of(served)) as direct, _losing_responses(served.port) as url:
        before = len(direct.jobs(limit=200)["data"])
        with Client(url) as client:
            job = client.submit({"dataset": "fashion-mnist-mini", "total_steps": 10})
        direct.cancel(job["id"])
        with Client(url) as client:
            assert client.retry(job["id"])["retry_of"] == job["id"]
        assert len(direct.jobs(limit=200)["data"]) == before + 2
