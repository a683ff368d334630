"""A TCP proxy between a service and its servers that injects faults of the network on request."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

_CHUNK = 65_536


class _Pair:
    """A client's connection and the matching connection to the server."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.ends = (client, server)
        self.drops_bytes = False
        self.budget: int | None = None
        """The number of bytes that it still passes on; None: no limit."""

    def reset(self) -> None:
        """Reset both connections: both ends get ECONNRESET."""
        for end in self.ends:
            _reset(end)


class Proxy:
    """A proxy from `port` of the loopback to the port `upstream`, in a thread of its own."""

    def __init__(self, upstream: int) -> None:
        self.port = 0
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._pairs: set[_Pair] = set()
        self._stalled_until = 0.0
        self._drop_until = 0.0
        self._thread = threading.Thread(target=self._serve, name="proxy", daemon=True)
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(60), "the proxy did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._pairs)

    def reset(self) -> None:
        """Reset every open connection."""
        self._do(self._reset_all)

    def stall(self, seconds: float) -> None:
        """Delay all bytes for `seconds`; none are lost."""

        def apply() -> None:
            self._stalled_until = time.monotonic() + seconds

        self._do(apply)

    def black_hole(self, seconds: float | None = None, *, include_new: bool = False) -> None:
        """Drop all bytes of the open connections, and with `include_new` also those of new ones.

        After `seconds` these connections are reset. None: they stay half-open until an end closes them.
        """
        assert not (include_new and seconds is None), "no connection would ever work again"

        def apply() -> None:
            for pair in self._pairs:
                pair.drops_bytes = True
            if seconds is not None:
                self._drop_until = time.monotonic() + seconds if include_new else 0.0
                self._loop.call_later(seconds, self._reset_all, True)

        self._do(apply)

    def cut_after(self, count: int) -> None:
        """Reset each open connection once it has passed on `count` more bytes."""

        def apply() -> None:
            for pair in self._pairs:
                pair.budget = count

        self._do(apply)

    def _do(self, action: Callable[[], None]) -> None:
        done = threading.Event()

        def act() -> None:
            action()
            done.set()

        self._loop.call_soon_threadsafe(act)
        assert done.wait(60), "the proxy hangs"

    def _reset_all(self, only_dropping: bool = False) -> None:
        for pair in list(self._pairs):
            if pair.drops_bytes or not only_dropping:
                pair.reset()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._close_all(server))
        self._loop.close()

    async def _close_all(self, server: asyncio.Server) -> None:
        """Reset every connection, and wait for the tasks that move the bytes."""
        server.close()
        self._stalled_until = 0.0
        self._reset_all()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait(others or {asyncio.create_task(asyncio.sleep(0))}, timeout=5)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            _reset(writer)  # the server is down
            return
        pair = _Pair(writer, forth)
        pair.drops_bytes = time.monotonic() < self._drop_until
        self._pairs.add(pair)
        try:
            await asyncio.gather(self._pump(pair, reader, forth), self._pump(pair, back, writer))
        except OSError:
            pair.reset()
        finally:
            self._pairs.discard(pair)
            for end in pair.ends:
                end.close()

    async def _pump(self, pair: _Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            while (rest := self._stalled_until - time.monotonic()) > 0:
                await asyncio.sleep(rest)
            if pair.drops_bytes:
                continue
            if pair.budget is not None:
                data, pair.budget = data[: pair.budget], pair.budget - len(data)
            writer.write(data)
            await writer.drain()
            if pair.budget is not None and pair.budget <= 0:
                pair.reset()
                return
        if not pair.drops_bytes and writer.can_write_eof():
            with suppress(OSError):
                writer.write_eof()
            # Databases and brokers send nothing to a client that has closed its side.
            for end in pair.ends:
                end.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    with suppress(OSError):
        # With a linger time of 0 the kernel sends RST in place of FIN.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
