"""A TCP proxy that stands between a service and its servers, and misbehaves when told to."""

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
    """One client's connection and ours to the server."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.ends = (client, server)
        self.swallows = False
        self.budget: int | None = None
        """Bytes that it still passes on; None: any number."""

    def reset(self) -> None:
        """Both ends see ECONNRESET."""
        for end in self.ends:
            _reset(end)


class Proxy:
    """Listens on `port` of loopback and passes on to `upstream`; a thread of its own moves the bytes."""

    def __init__(self, upstream: int) -> None:
        self.port = 0
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._pairs: set[_Pair] = set()
        self._stalled_until = 0.0
        self._deaf_until = 0.0
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
        """How many are open."""
        return len(self._pairs)

    def reset(self) -> None:
        """Break every connection that is open."""
        self._do(self._reset_all)

    def stall(self, seconds: float) -> None:
        """Accept and read, but pass nothing on for so long; nothing is lost."""

        def begin() -> None:
            self._stalled_until = time.monotonic() + seconds

        self._do(begin)

    def black_hole(self, seconds: float | None = None, *, new_ones_too: bool = False) -> None:
        """Swallow whatever comes on the open connections, and on new ones too if asked.

        After `seconds` all that swallowed are broken. None: they stay half-open until somebody hangs up.
        """
        assert not (new_ones_too and seconds is None), "nobody would ever get through again"

        def begin() -> None:
            for pair in self._pairs:
                pair.swallows = True
            if seconds is not None:
                self._deaf_until = time.monotonic() + seconds if new_ones_too else 0.0
                self._loop.call_later(seconds, self._reset_all, True)

        self._do(begin)

    def cut_after(self, count: int) -> None:
        """Break each connection that is open once it has passed on `count` more bytes."""

        def begin() -> None:
            for pair in self._pairs:
                pair.budget = count

        self._do(begin)

    def _do(self, action: Callable[[], None]) -> None:
        done = threading.Event()

        def act() -> None:
            action()
            done.set()

        self._loop.call_soon_threadsafe(act)
        assert done.wait(60), "the proxy hangs"

    def _reset_all(self, only_swallowing: bool = False) -> None:
        for pair in list(self._pairs):
            if pair.swallows or not only_swallowing:
                pair.reset()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._hang_up(server))
        self._loop.close()

    async def _hang_up(self, server: asyncio.Server) -> None:
        """End every connection, and wait for whoever moved its bytes."""
        server.close()
        self._stalled_until = 0.0
        self._reset_all()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait(others or {asyncio.create_task(asyncio.sleep(0))}, timeout=5)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            _reset(writer)  # nobody listens there
            return
        pair = _Pair(writer, forth)
        pair.swallows = time.monotonic() < self._deaf_until
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
            if pair.swallows:
                continue
            if pair.budget is not None:
                data, pair.budget = data[: pair.budget], pair.budget - len(data)
            writer.write(data)
            await writer.drain()
            if pair.budget is not None and pair.budget <= 0:
                pair.reset()
                return
        if not pair.swallows and writer.can_write_eof():
            with suppress(OSError):
                writer.write_eof()
            # Databases and brokers do not speak to somebody who has hung up.
            for end in pair.ends:
                end.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    with suppress(OSError):
        # No lingering: the kernel sends RST in place of FIN.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
