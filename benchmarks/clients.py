"""Many clients at once, each with one connection: it asks, waits for the answer, and asks again."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Final

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CONNECTING_SECONDS: Final = 30


class _Caller(asyncio.Protocol):
    """One client; it says no more than HTTP needs, so that what is measured is the server."""

    def __init__(self, host: str, path: str, taken: list[float]) -> None:
        self._ask = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n".encode()
        self._taken = taken
        self._got = b""
        self._asked_at = 0.0
        self._until = 0.0
        self._over = asyncio.get_running_loop().create_future()

    async def keep_asking(self, until: float) -> None:
        """Until that moment. Raises `RuntimeError` at an answer that is not 200, or none."""
        self._until = until
        self._next()
        await self._over

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, blank, body = self._got.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not blank or length is None or len(body) < int(length[1]):
            return
        now = time.perf_counter()
        self._taken.append(now - self._asked_at)
        self._got = b""
        if not head.startswith(b"HTTP/1.1 200"):
            self._end(RuntimeError(head.splitlines()[0].decode()))
        elif now < self._until:
            self._next()
        else:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(RuntimeError("The server hung up."))

    def _next(self) -> None:
        self._asked_at = time.perf_counter()
        self._transport.write(self._ask)

    def _end(self, error: Exception | None) -> None:
        if self._over.done():
            return
        if error is None:
            self._over.set_result(None)
        else:
            self._over.set_exception(error)
        self._transport.close()


def latencies(port: int, paths: Sequence[str], clients: int, seconds: float) -> list[float]:
    """How long each answer took, s, of clients that ask in turn for `paths`, all at once for so long.

    Raises `RuntimeError` where one was not 200.
    """
    return asyncio.run(_latencies(port, paths, clients, seconds))


async def _latencies(port: int, paths: Sequence[str], clients: int, seconds: float) -> list[float]:
    loop, taken = asyncio.get_running_loop(), list[float]()
    made = []
    for number in range(clients):
        path = paths[number % len(paths)]

        def caller(path: str = path) -> _Caller:
            return _Caller(f"127.0.0.1:{port}", path, taken)

        async with asyncio.timeout(_CONNECTING_SECONDS):
            made.append((await loop.create_connection(caller, "127.0.0.1", port))[1])
    until = time.perf_counter() + seconds
    await asyncio.gather(*(one.keep_asking(until) for one in made))
    return taken
