"""Somebody who is told: a server on loopback that keeps what it hears, and answers as it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answering = Callable[["Heard"], int]


@dataclass(frozen=True)
class Heard:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Receiver:
    """Answers the statuses in turn, the last of them for ever; or what a function says."""

    def __init__(self, *statuses: int, answering: Answering | None = None, location: str | None = None) -> None:
        self.heard: list[Heard] = []
        self.most_at_once = 0
        self._statuses, self._answering, self._location = list(statuses) or [200], answering, location
        self._now, self._lock = 0, threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hooks?key=1"

    def answer(self, heard: Heard) -> tuple[int, str | None]:
        with self._lock:
            self.heard.append(heard)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        try:
            return (self._answering(heard) if self._answering else status), self._location
        finally:
            with self._lock:
                self._now -= 1


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class ReceiverHandler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, location = receiver.answer(Heard(self.path, headers, body))
            self.send_response(status)
            if location is not None:
                self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return ReceiverHandler


@contextmanager
def receiving(*statuses: int, answering: Answering | None = None, location: str | None = None) -> Iterator[Receiver]:
    receiver = Receiver(*statuses, answering=answering, location=location)
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        thread.join()
        receiver.server.server_close()
