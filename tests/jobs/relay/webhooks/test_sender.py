"""Tests of the sender: signature, checked address, redirects, proxies, timeouts."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore2
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from jobs.relay.webhooks.addresses import AddressChecker
from jobs.relay.webhooks.sender import WebhookSender
from jobs.store.callers.deliveries import PendingDelivery
from tests.jobs.relay.webhooks.receiver import receiving

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
PUBLIC = "93.184.216.34"


def delivery(url: str, body: str = '{"type":"webhook.test"}') -> PendingDelivery:
    return PendingDelivery("msg_01JD2M9Z8V3H4W5X6Y7Z8A9B0C", "default", "hook_1", 1, url, SECRET, body)


def private(**kwargs: Any) -> WebhookSender:
    return WebhookSender(AddressChecker(allow_private=True), **kwargs)


class LoopbackBackend(httpcore2.NetworkBackend):
    """A network backend that records each call and connects to a port on loopback instead; None: it refuses."""

    def __init__(self, port: int | None) -> None:
        self.called: list[tuple[str, int]] = []
        self._port, self._real = port, httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        self.called.append((host, port))
        if self._port is None:
            raise httpcore2.ConnectError("refused")
        return self._real.connect_tcp("127.0.0.1", self._port, timeout, local_address, socket_options)


@contextmanager
def listening(response: bytes = b"", pause: float = 0.0) -> Iterator[tuple[int, list[bytes]]]:
    """Open a port and yield it with the first bytes of each connection. Send `response` byte by byte, for ever."""
    received: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                received.append(connection.recv(65536))
                try:
                    while response and not over.is_set():
                        for byte in response:
                            connection.sendall(bytes([byte]))
                            over.wait(pause)
                except OSError:
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1], received
    finally:
        over.set()
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def test_a_delivery_follows_the_standard_and_its_library_verifies_it() -> None:
    body = json.dumps({"type": "job.status", "data": {"job_id": "job_1"}})
    with receiving(204) as receiver:
        outcome = private().send(delivery(receiver.url, body))
    (request,) = receiver.requests
    assert (outcome.status, outcome.error, outcome.delivered) == (204, None, True)
    assert request.path == "/hooks?key=1" and request.body == body.encode()
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == "msg_01JD2M9Z8V3H4W5X6Y7Z8A9B0C"
    assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 200
    assert Webhook(SECRET).verify(request.body, dict(request.headers)) == json.loads(body)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(request.body.replace(b"job_1", b"job_2"), dict(request.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + base64.b64encode(b"x" * 32).decode()).verify(request.body, dict(request.headers))


def test_the_checked_address_is_called_with_the_name_of_the_host() -> None:
    """The name is resolved once. The connection goes to that address, and Host stays the name."""
    resolved = []

    def resolve(host: str, port: int) -> list[str]:
        resolved.append((host, port))
        return [PUBLIC] if len(resolved) == 1 else ["127.0.0.1"]

    with receiving() as receiver:
        backend = LoopbackBackend(receiver.server.server_address[1])
        # Plain http is allowed here, so that the test can read the headers.
        addresses = AddressChecker(allow_private=True, resolve=resolve)
        assert WebhookSender(addresses, backend=backend).send(delivery("http://hooks.example/a")).delivered
    assert resolved == [("hooks.example", 80)] and backend.called == [(PUBLIC, 80)]
    assert receiver.requests[0].headers["host"] == "hooks.example"


def test_https_sends_the_name_and_checks_the_certificate() -> None:
    with listening() as (port, received):
        backend = LoopbackBackend(port)
        sender = WebhookSender(AddressChecker(resolve=lambda host, p: [PUBLIC]), backend=backend)
        outcome = sender.send(delivery("https://hooks.example/a"))
    assert backend.called == [(PUBLIC, 443)]
    assert b"hooks.example" in received[0], "the first bytes of TLS contain the name in clear text"
    assert outcome.status is None and outcome.error is not None and "could not be sent" in outcome.error
    assert sender._tls.check_hostname and sender._tls.verify_mode.name == "CERT_REQUIRED"


def test_a_name_that_resolves_differently_a_moment_later_is_not_called() -> None:
    """DNS rebinding: the address is public at registration and private at the call. No connection is made."""
    answers = iter([[PUBLIC], ["127.0.0.1"], [PUBLIC, "::1"], ["169.254.169.254"]])
    addresses = AddressChecker(resolve=lambda host, port: next(answers))
    addresses.check("https://hooks.example/")
    with listening() as (port, received):
        backend = LoopbackBackend(port)
        for _ in range(3):
            outcome = WebhookSender(addresses, backend=backend).send(delivery("https://hooks.example/"))
            assert outcome.status is None and outcome.error is not None and "not public" in outcome.error
    assert (backend.called, received) == ([], [])


def test_a_stored_url_that_is_now_refused_is_not_called() -> None:
    backend = LoopbackBackend(None)
    for url in (
        "http://127.0.0.1:9/",
        "https://10.0.0.1/",
        "https://hooks.example:8443/",
        "https://a@93.184.216.34/",
    ):
        outcome = WebhookSender(AddressChecker(), backend=backend).send(delivery(url))
        assert outcome.error is not None and "does not send webhooks to this URL" in outcome.error
    assert backend.called == []


def test_the_next_address_is_tried_when_one_does_not_respond() -> None:
    backend = LoopbackBackend(None)
    addresses = AddressChecker(resolve=lambda host, port: [PUBLIC, "8.8.8.8"])
    outcome = WebhookSender(addresses, backend=backend).send(delivery("https://hooks.example/"))
    assert backend.called == [(PUBLIC, 443), ("8.8.8.8", 443)]
    assert outcome.error == "The delivery could not be sent: refused."


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with receiving() as other, receiving(status, location=other.url) as receiver:
        outcome = private().send(delivery(receiver.url))
    assert outcome.status == status and outcome.error is not None and "redirect" in outcome.error
    assert (len(receiver.requests), other.requests, outcome.delivered) == (1, [], False)


def test_proxies_from_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as (port, received), receiving() as receiver:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        assert private().send(delivery(receiver.url)).delivered
    assert received == [] and len(receiver.requests) == 1


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="an endless interim response"),
        pytest.param(b"x", id="no HTTP, sent slowly"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX-Long: ", id="an endless header"),
    ],
)
def test_an_endless_response_is_cut_off(response: bytes) -> None:
    began = time.monotonic()
    with listening(response, pause=0.01) as (port, _):
        outcome = private(in_all_seconds=1.0).send(delivery(f"http://127.0.0.1:{port}/"))
    assert outcome.status is None and outcome.error is not None and time.monotonic() - began < 60


def test_a_long_response_is_not_read_to_its_end() -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 50_000
    began = time.monotonic()
    with listening(endless) as (port, _):
        outcome = private().send(delivery(f"http://127.0.0.1:{port}/"))
    assert outcome.status == 200 and time.monotonic() - began < 60


def test_a_silent_receiver_is_a_failed_outcome() -> None:
    with listening(b"x", pause=60) as (port, _):
        outcome = private(in_all_seconds=0.5).send(delivery(f"http://127.0.0.1:{port}/"))
    assert outcome.error is not None and "longer than" in outcome.error and outcome.milliseconds >= 400
