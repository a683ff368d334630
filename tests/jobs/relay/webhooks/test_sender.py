"""One delivery on its way: signed, to the address that was checked and to no other, and never for long."""

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


class Dial(httpcore2.NetworkBackend):
    """Notes who is to be called, and calls a port on loopback instead; None: nobody."""

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
def listening(said: bytes = b"", pause: float = 0.0) -> Iterator[tuple[int, list[bytes]]]:
    """A port, and the first words of each who connects; `said` is sent to them byte by byte, for ever."""
    heard: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve() -> None:
        while True:
            try:
                near, _ = server.accept()
            except OSError:
                return
            with near:
                heard.append(near.recv(65536))
                try:
                    while said and not over.is_set():
                        for byte in said:
                            near.sendall(bytes([byte]))
                            over.wait(pause)
                except OSError:
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1], heard
    finally:
        over.set()
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def test_what_is_sent_is_what_the_standard_says_and_its_library_verifies() -> None:
    body = json.dumps({"type": "job.status", "data": {"job_id": "job_1"}})
    with receiving(204) as receiver:
        outcome = private().send(delivery(receiver.url, body))
    (heard,) = receiver.heard
    assert (outcome.status, outcome.error, outcome.delivered) == (204, None, True)
    assert heard.path == "/hooks?key=1" and heard.body == body.encode()
    assert heard.headers["content-type"] == "application/json"
    assert heard.headers["webhook-id"] == "msg_01JD2M9Z8V3H4W5X6Y7Z8A9B0C"
    assert abs(int(heard.headers["webhook-timestamp"]) - time.time()) < 200
    assert Webhook(SECRET).verify(heard.body, dict(heard.headers)) == json.loads(body)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(heard.body.replace(b"job_1", b"job_2"), dict(heard.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + base64.b64encode(b"x" * 32).decode()).verify(heard.body, dict(heard.headers))


def test_the_address_that_was_checked_is_called_by_the_hosts_name() -> None:
    """DNS is asked once; the connection goes to what it answered, while Host stays the name."""
    asked = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return [PUBLIC] if len(asked) == 1 else ["127.0.0.1"]

    with receiving() as receiver:
        dial = Dial(receiver.server.server_address[1])
        # By http for once, to read the head; everything else is judged as it always is.
        addresses = AddressChecker(allow_private=True, resolve=resolve)
        assert WebhookSender(addresses, backend=dial).send(delivery("http://hooks.example/a")).delivered
    assert asked == [("hooks.example", 80)] and dial.called == [(PUBLIC, 80)]
    assert receiver.heard[0].headers["host"] == "hooks.example"


def test_by_https_the_name_is_asked_for_and_must_be_vouched_for() -> None:
    with listening() as (port, heard):
        dial = Dial(port)
        sender = WebhookSender(AddressChecker(resolve=lambda host, p: [PUBLIC]), backend=dial)
        outcome = sender.send(delivery("https://hooks.example/a"))
    assert dial.called == [(PUBLIC, 443)]
    assert b"hooks.example" in heard[0], "the name stands in the clear in the first words of TLS"
    assert outcome.status is None and outcome.error is not None and "could not be sent" in outcome.error
    assert sender._tls.check_hostname and sender._tls.verify_mode.name == "CERT_REQUIRED"


def test_a_name_that_leads_elsewhere_a_moment_later_leads_nowhere() -> None:
    """DNS rebinding: public when it was registered, ours when it is called. No connection is made."""
    answers = iter([[PUBLIC], ["127.0.0.1"], [PUBLIC, "::1"], ["169.254.169.254"]])
    addresses = AddressChecker(resolve=lambda host, port: next(answers))
    addresses.check("https://hooks.example/")
    with listening() as (port, heard):
        dial = Dial(port)
        for _ in range(3):
            outcome = WebhookSender(addresses, backend=dial).send(delivery("https://hooks.example/"))
            assert outcome.status is None and outcome.error is not None and "not public" in outcome.error
    assert (dial.called, heard) == ([], [])


def test_a_url_that_was_stored_before_it_was_refused_is_not_called() -> None:
    dial = Dial(None)
    for url in (
        "http://127.0.0.1:9/",
        "https://10.0.0.1/",
        "https://hooks.example:8443/",
        "https://a@93.184.216.34/",
    ):
        outcome = WebhookSender(AddressChecker(), backend=dial).send(delivery(url))
        assert outcome.error is not None and "does not send webhooks to this URL" in outcome.error
    assert dial.called == []


def test_the_next_address_is_called_where_one_does_not_answer() -> None:
    dial = Dial(None)
    addresses = AddressChecker(resolve=lambda host, port: [PUBLIC, "8.8.8.8"])
    outcome = WebhookSender(addresses, backend=dial).send(delivery("https://hooks.example/"))
    assert dial.called == [(PUBLIC, 443), ("8.8.8.8", 443)]
    assert outcome.error == "The delivery could not be sent: refused."


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with receiving() as other, receiving(status, location=other.url) as receiver:
        outcome = private().send(delivery(receiver.url))
    assert outcome.status == status and outcome.error is not None and "redirect" in outcome.error
    assert (len(receiver.heard), other.heard, outcome.delivered) == (1, [], False)


def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as (port, heard), receiving() as receiver:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        assert private().send(delivery(receiver.url)).delivered
    assert heard == [] and len(receiver.heard) == 1


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="never gets to the point"),
        pytest.param(b"x", id="is no HTTP, slowly"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX-Long: ", id="a head that goes on"),
    ],
)
def test_whoever_goes_on_for_ever_is_left(said: bytes) -> None:
    began = time.monotonic()
    with listening(said, pause=0.01) as (port, _):
        outcome = private(in_all_seconds=1.0).send(delivery(f"http://127.0.0.1:{port}/"))
    assert outcome.status is None and outcome.error is not None and time.monotonic() - began < 60


def test_a_long_answer_is_not_read_to_its_end() -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 50_000
    began = time.monotonic()
    with listening(endless) as (port, _):
        outcome = private().send(delivery(f"http://127.0.0.1:{port}/"))
    assert outcome.status == 200 and time.monotonic() - began < 60


def test_silence_is_an_outcome_too() -> None:
    with listening(b"x", pause=60) as (port, _):
        outcome = private(in_all_seconds=0.5).send(delivery(f"http://127.0.0.1:{port}/"))
    assert outcome.error is not None and "longer than" in outcome.error and outcome.milliseconds >= 400
