"""HTTP requests to the service: address, key, errors, repeated requests and pages."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx2

from gantry.errors import ApiError, BadSettingError, UnreachableError
from gantry.network import Network

Json = dict[str, Any]
"""A JSON object of the API."""

DEFAULT_URL: Final = "http://127.0.0.1:8000"
MAX_PAGE_ITEMS: Final = 200

# A long poll takes up to 20 s. Drawing many images on a busy CPU takes longer.
_TIMEOUT: Final = httpx2.Timeout(150, connect=5)
# The service sends a comment every 15 s while a stream has no events.
_STREAM_TIMEOUT: Final = httpx2.Timeout(5, read=45)
# Pauses before a request that may have arrived is sent again. Their sum is the time that a service needs to restart.
_RETRY_PAUSES_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
_NOT_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout)
END: Final = "stream.end"
"""The type of the last event of a stream."""
_NO_CONTENT: Final = 204


class Connection:
    """A connection pool to the service at `url`. Close it, or use it in a `with` block."""

    def __init__(self, url: str = DEFAULT_URL, key: str | None = None) -> None:
        """Open a connection pool. No request is sent yet.

        `key` is an API key; None takes it from GANTRY_KEY. Without either, requests carry no key.
        Raises `BadSettingError`.
        """
        url = url.strip()
        _require_url(url)
        self.url = url.rstrip("/")
        self.network = Network.to(self.url)
        key = os.environ.get("GANTRY_KEY") if key is None else key
        if key:
            _require_key(key)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx2.Client(
            base_url=self.url,
            headers=headers,
            timeout=_TIMEOUT,
            proxy=self.network.proxy,
            verify=self.network.tls,
            trust_env=False,
        )

    def close(self) -> None:
        """Close all connections of the pool."""
        self._http.close()

    def __enter__(self) -> Self:
        """Return this connection."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        self.close()

    def _create(self, path: str, body: Json) -> Json:
        """POST `body` and return the created object.

        If the connection breaks, send the request again with the same idempotency key: the object is created once.
        """
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        pauses = list(_RETRY_PAUSES_SECONDS)
        while True:
            try:
                return self._json("POST", path, json=body, headers=headers)
            except UnreachableError as error:
                is_first = len(pauses) == len(_RETRY_PAUSES_SECONDS)
                if not pauses or (is_first and isinstance(error.__cause__, _NOT_SENT)):
                    raise
            time.sleep(pauses.pop(0))

    def _pages(self, path: str, cursor: str = "cursor", **query: Any) -> Iterator[Json]:
        """Yield every item of a list, page by page. `cursor` is the query parameter that continues after a page."""
        query = {"limit": MAX_PAGE_ITEMS, **query}
        while True:
            page = self._json("GET", path, params=query)
            yield from page["data"]
            if not page["has_more"]:
                return
            query[cursor] = page["next_cursor"]

    def _list(self, path: str) -> list[Json]:
        """Return the JSON list at `path`."""
        items: list[Json] = self._decode(self._send("GET", path))
        return items

    def _json(self, method: str, path: str, **content: Any) -> Json:
        """Send a request and return the JSON object of the response."""
        body: Json = self._decode(self._send(method, path, **content))
        return body

    def _decode(self, response: httpx2.Response) -> Any:
        try:
            return response.json()
        except ValueError:
            detail = f"The server at {self.url} is not Gantry: it did not send JSON. Check GANTRY_URL."
            raise ApiError(response.status_code, {"detail": detail}) from None

    def _send(self, method: str, path: str, **content: Any) -> httpx2.Response:
        """Send a request and return the response. Raises `ApiError`, `UnreachableError`."""
        try:
            response = self._http.request(method, path, **content)
        except httpx2.RequestError as error:
            raise self.network.error(error) from error
        if response.is_error or response.has_redirect_location:
            raise ApiError(response.status_code, _problem(response))
        return response

    def _stream(self, path: str, after: int) -> Iterator[httpx2.ServerSentEvent]:
        """Yield the server-sent events at `path` after the event `after`. Raises `ApiError`, `UnreachableError`.

        A 204 means that nothing follows: the only event is then `END`, as if the stream had been read to its end.
        """
        headers = {"Last-Event-ID": str(after)}
        try:
            with self._http.sse(path, headers=headers, timeout=_STREAM_TIMEOUT) as source:
                if source.response.is_error or source.response.has_redirect_location:
                    source.response.read()
                    raise ApiError(source.response.status_code, _problem(source.response))
                if source.response.status_code == _NO_CONTENT:
                    yield httpx2.ServerSentEvent(event=END)
                    return
                yield from source
        except httpx2.RequestError as error:
            raise self.network.error(error) from error


def _require_url(url: str) -> None:
    """Raise `BadSettingError` if `url` cannot be the address of a service."""
    problem = ""
    if not url.lower().startswith(("http://", "https://")):
        problem = "must start with http:// or https://"
    else:
        try:
            # httpx2 accepts a port of any size, and a bracket without its counterpart.
            _ = urlsplit(url).port
            parsed = httpx2.URL(url)
            if not parsed.host:
                problem = "has no host"
            elif parsed.query or parsed.fragment or "?" in url or "#" in url:
                problem = "must end before the ? or #, because the client adds paths to it"
        except (ValueError, httpx2.InvalidURL):
            problem = "has an invalid host or port"
    if problem:
        raise BadSettingError(
            f"The service's address (GANTRY_URL, or the one given instead) {problem}; an example is {DEFAULT_URL}."
        )


def _require_key(key: str) -> None:
    """Raise `BadSettingError` if `key` cannot be sent in a header. The HTTP library's error would show the key."""
    if not (key.isascii() and key.isprintable() and key == key.strip()):
        raise BadSettingError(
            "The key (GANTRY_KEY, or the one given instead) contains a line break, a space at an end, "
            "or a character that is not ASCII; a key is one word, such as gan_live_..."
        )


def _problem(response: httpx2.Response) -> Json:
    """Return the RFC 9457 body of a refused request, or a body that says what is known."""
    if response.headers.get("content-type", "").startswith("application/problem+json"):
        with suppress(ValueError):
            problem: Json = response.json()
            return problem
    if response.has_redirect_location:
        # A redirect is not followed: the key would be sent to the address that it names.
        return {"detail": f"The service has another address; set GANTRY_URL to {response.headers['Location']}."}
    return {"detail": f"The service answered {response.status_code} without an explanation."}
