"""Send one delivery as one signed POST request, as in the Standard Webhooks specification (standardwebhooks.com)."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final

import httpcore2
from standardwebhooks import Webhook

from jobs.errors import SettingsError, UrlNotAllowedError
from jobs.relay.webhooks.addresses import AddressChecker
from jobs.store.callers.deliveries import DeliveryOutcome, PendingDelivery

SECONDS: Final = 10.0
"""The timeout of the connection and of each read or write, s."""
IN_ALL_SECONDS: Final = 20.0
"""The limit of a whole attempt, s. It ends a response that arrives one byte at a time."""

_MOST_READ: Final = 16_384
_MOST_ADDRESSES: Final = 4
_AGENT: Final = f"Gantry/{version('gantry')}"
_REFUSED: Final = {
    3: "The receiver answered with a redirect, which is not followed.",
    4: "The receiver refused the delivery.",
    5: "The receiver failed.",
}
_TIMEOUTS: Final = {"connect": SECONDS, "read": SECONDS, "write": SECONDS, "pool": SECONDS}


class WebhookSender:
    """The HTTP client of the webhooks. It calls checked addresses only.

    It follows no redirect, uses no proxy and keeps no connection.
    """

    def __init__(
        self,
        addresses: AddressChecker,
        *,
        backend: httpcore2.NetworkBackend | None = None,
        in_all_seconds: float = IN_ALL_SECONDS,
    ) -> None:
        self._addresses, self._backend = addresses, backend or httpcore2.SyncBackend()
        self._seconds = in_all_seconds
        self._tls = _trusted_certificates()

    def send(self, delivery: PendingDelivery) -> DeliveryOutcome:
        """Send the delivery and return the outcome. A failure is an outcome, not an exception."""
        began = time.monotonic()
        status, error = None, None
        try:
            status = self._post(delivery, began + self._seconds)
            error = None if 200 <= status < 300 else _REFUSED.get(status // 100, "The receiver refused the delivery.")
        except UrlNotAllowedError as refused:
            error = str(refused)
        except httpcore2.TimeoutException:
            error = f"The receiver took longer than {SECONDS:.0f} s to respond, or {self._seconds:.0f} s in all."
        except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as failure:
            error = f"The delivery could not be sent: {str(failure)[:200] or type(failure).__name__}."
        return DeliveryOutcome(status, error, round(1000 * (time.monotonic() - began)))

    def _post(self, delivery: PendingDelivery, deadline: float) -> int:
        """Send the POST request and return the HTTP status of the response."""
        parsed = self._addresses.parse(delivery.url)
        url = httpcore2.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path)
        network = _CheckedBackend(self._addresses, self._backend, deadline)
        with (
            httpcore2.ConnectionPool(ssl_context=self._tls, network_backend=network) as pool,
            pool.stream(
                "POST",
                url,
                headers=signed_headers(delivery, datetime.now(UTC)),
                content=delivery.body.encode(),
                extensions={"timeout": _TIMEOUTS},
            ) as response,
        ):
            _read_start(response.iter_stream())
            return int(response.status)


def _trusted_certificates() -> ssl.SSLContext:
    """Return the certificates that this host trusts. Raises `SettingsError`."""
    try:
        return httpcore2.default_ssl_context()
    except OSError as error:
        raise SettingsError(
            f"The certificates of this host cannot be read ({error.strerror or error}). Correct or unset "
            "SSL_CERT_FILE, SSL_CERT_DIR and SSLKEYLOGFILE."
        ) from error


def signed_headers(delivery: PendingDelivery, moment: datetime) -> dict[bytes | str, bytes | str]:
    """Return the headers of an attempt made at `moment`, which must be in UTC."""
    return {
        "Content-Type": "application/json",
        "User-Agent": _AGENT,
        "webhook-id": delivery.id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(delivery.secret).sign(delivery.id, moment, delivery.body),
    }


def _read_start(chunks: Iterable[bytes]) -> None:
    """Read and discard the start of the response, so that a receiver with a short one can finish."""
    read = 0
    for chunk in chunks:
        read += len(chunk)
        if read > _MOST_READ:
            return


class _CheckedBackend(httpcore2.NetworkBackend):
    """A network backend that connects only if every address of the host is allowed.

    Host and SNI keep the host's name.
    """

    def __init__(self, addresses: AddressChecker, backend: httpcore2.NetworkBackend, deadline: float) -> None:
        self._addresses, self._backend, self._deadline = addresses, backend, deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        failure: Exception | None = None
        for address in self._addresses.resolve(host, port)[:_MOST_ADDRESSES]:
            left = _seconds_left(self._deadline, timeout, httpcore2.ConnectTimeout)
            try:
                return _TimedStream(
                    self._backend.connect_tcp(address, port, left, local_address, socket_options), self._deadline
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        assert failure is not None
        raise failure


class _TimedStream(httpcore2.NetworkStream):
    """A connection that ends at its deadline, however active it is."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _seconds_left(self._deadline, timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _seconds_left(self._deadline, timeout, httpcore2.WriteTimeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        left = _seconds_left(self._deadline, timeout, httpcore2.ConnectTimeout)
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _seconds_left(deadline: float, timeout: float | None, over: Callable[[str], Exception]) -> float:
    """Return the seconds until the deadline, at most `timeout`. Raises `over` when none are left."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise over("The time for this delivery has run out.")
    return left if timeout is None else min(left, timeout)
