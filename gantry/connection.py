"""How the service is asked over HTTP: what an error is, what is sent again, and who is waited for."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx2

Json = dict[str, Any]

DEFAULT_URL: Final = "http://127.0.0.1:8000"

# A held request lasts _WAIT_SECONDS, a large sample on a busy CPU longer.
_LIMITS: Final = httpx2.Timeout(150, connect=5)
# A stream says every 15 s that it is there.
_STREAM_LIMITS: Final = httpx2.Timeout(5, read=45)
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 2.0
# Before what may have been heard is sent again; together, as long as a service takes to be started anew.
_PAUSES_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
_PATIENCE_SECONDS: Final = 60
_NEVER_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout)
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class ApiError(Exception):
    """The service refused; `code` is its stable word, `problem` the whole RFC 9457 body."""

    def __init__(self, status: int, problem: Json) -> None:
        self.status, self.problem = status, problem
        self.code: str = problem.get("code", "unknown")
        super().__init__(problem.get("detail") or f"The service answered {status}.")


class UnreachableError(Exception):
    """Nobody answers at the address."""


class BadSettingError(ValueError):
    """The address or the key cannot be one. The sentence says which, and holds no key."""


class Patience:
    """With a service that was heard and is away for a moment, as while it is started again."""

    def __init__(self) -> None:
        self._ever_heard, self._pause = False, _FIRST_PAUSE_SECONDS
        self._lost_at: float | None = None

    def heard(self) -> None:
        self._ever_heard, self._lost_at, self._pause = True, None, _FIRST_PAUSE_SECONDS

    def wait(self, error: UnreachableError | ApiError | None = None) -> None:
        """Sleep for a little, each time longer; raise `error` where it does not pass, or has lasted for a minute."""
        self._lost_at = self._lost_at or time.monotonic()
        lasting = isinstance(error, ApiError) and error.status != 503
        too_long = time.monotonic() - self._lost_at > _PATIENCE_SECONDS
        if error is not None and (lasting or not self._ever_heard or too_long):
            raise error
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)


class Connection:
    """One connection pool to the service at `url`, and how it is asked."""

    def __init__(self, url: str = DEFAULT_URL, key: str | None = None) -> None:
        """`key` is what the service asks for; left out: what GANTRY_KEY holds, and where it is empty none.

        Raises `BadSettingError`.
        """
        _require_address(url)
        self.url = url.rstrip("/")
        # A proxy of the environment leads away from this machine's own loopback.
        self.trusts_environment = urlsplit(self.url).hostname not in _LOOPBACK
        key = os.environ.get("GANTRY_KEY") if key is None else key
        if key:
            _require_key(key)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx2.Client(
            base_url=self.url, headers=headers, timeout=_LIMITS, trust_env=self.trusts_environment
        )

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _create(self, path: str, body: Json) -> Json:
        """Have something made, once: sent again with the same key when the connection breaks."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        pauses = list(_PAUSES_SECONDS)
        while True:
            try:
                return self._json("POST", path, json=body, headers=headers)
            except UnreachableError as error:
                first = len(pauses) == len(_PAUSES_SECONDS)
                if not pauses or (first and isinstance(error.__cause__, _NEVER_SENT)):
                    raise
            time.sleep(pauses.pop(0))

    def _list(self, path: str) -> list[Json]:
        answer: list[Json] = self._read(self._send("GET", path))
        return answer

    def _json(self, method: str, path: str, **content: Any) -> Json:
        answer: Json = self._read(self._send(method, path, **content))
        return answer

    def _read(self, response: httpx2.Response) -> Any:
        try:
            return response.json()
        except ValueError:
            detail = f"What answers at {self.url} is not Gantry: it sent something else than JSON. See GANTRY_URL."
            raise ApiError(response.status_code, {"detail": detail}) from None

    def _send(self, method: str, path: str, **content: Any) -> httpx2.Response:
        try:
            response = self._http.request(method, path, **content)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        if response.is_error or response.has_redirect_location:
            raise ApiError(response.status_code, _problem(response))
        return response

    def _stream(self, job_id: str, after: int) -> Iterator[httpx2.ServerSentEvent]:
        path, headers = f"/v1/jobs/{job_id}/events", {"Last-Event-ID": str(after)}
        try:
            with self._http.sse(path, headers=headers, timeout=_STREAM_LIMITS) as source:
                if source.response.is_error or source.response.has_redirect_location:
                    source.response.read()
                    raise ApiError(source.response.status_code, _problem(source.response))
                yield from source
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: httpx2.TransportError) -> UnreachableError:
        reason = str(error) or type(error).__name__
        return UnreachableError(f"Nobody answers at {self.url} ({reason}); is `gantry up` running?")


def _require_address(url: str) -> None:
    wrong = ""
    if not url.lower().startswith(("http://", "https://")):
        wrong = "must start with http:// or https://"
    else:
        try:
            # The client takes a port of any size, and a bracket that nothing closes.
            _ = urlsplit(url).port
            if not httpx2.URL(url).host:
                wrong = "names no host"
        except (ValueError, httpx2.InvalidURL):
            wrong = "has a host or a port that cannot be"
    if wrong:
        where = "GANTRY_URL, or what is given in its place"
        raise BadSettingError(f"The service's address ({where}) {wrong}; it looks like {DEFAULT_URL}.")


def _require_key(key: str) -> None:
    # Where such a header cannot be sent, the error holds it.
    if not (key.isascii() and key.isprintable() and key == key.strip()):
        raise BadSettingError(
            "The key (GANTRY_KEY, or what is given in its place) holds a line break, a space at an end, "
            "or a character that is not ASCII; it looks like gan_live_..., and is one word."
        )


def _problem(response: httpx2.Response) -> Json:
    if response.headers.get("content-type", "").startswith("application/problem+json"):
        problem: Json = response.json()
        return problem
    if response.has_redirect_location:
        # A key is not carried to wherever somebody points.
        return {"detail": f"The service is at another address; set GANTRY_URL by {response.headers['Location']}."}
    return {"detail": f"The service answered {response.status_code} and did not say why."}
