"""A webhook receiver for tests: a server on loopback that keeps the requests and answers with given statuses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["ReceivedRequest"], int]


@dataclass(frozen=True)
class ReceivedRequest:
    """One received request."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Receiver:
    """A server that answers with each status in turn, the last one for ever, or with the result of a function."""

    def __init__(self, *statuses: int, answer_with: Answer | None = None, location: str | None = None) -> None:
        self.requests: list[ReceivedRequest] = []
        self.most_at_once = 0
        self._statuses, self._answer_with, self._location = list(statuses) or [200], answer_with, location
        self._active, self._lock = 0, threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hooks?key=1"

    def answer(self, request: ReceivedRequest) -> tuple[int, str | None]:
        with self._lock:
            self.requests.append(request)
            self._active += 1
            self.most_at_once = max(self.most_at_once, self._active)
            status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        try:
            return (self._answer_with(request) if self._answer_with else status), self._location
        finally:
            with self._lock:
                self._active -= 1


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class ReceiverHandler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, location = receiver.answer(ReceivedRequest(self.path, headers, body))
            self.send_response(status)
            if location is not None:
                self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return ReceiverHandler


@contextmanager
def receiving(*statuses: int, answer_with: Answer | None = None, location: str | None = None) -> Iterator[Receiver]:
    receiver = Receiver(*statuses, answer_with=answer_with, location=location)
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        thread.join()
        receiver.server.server_close()
