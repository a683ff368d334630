"""Ports for servers of the tests, from below those that the system gives to whoever asks for any.

A port that the system gave away and took back goes to the next who asks, and a client that looks for a server there
may even reach itself; of these, each test process has a thousand of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Final

from gantry.local.ports import listen

_FIRST: Final = 12_000
_EACH: Final = 1_000
_WORKERS: Final = 20


def _mine() -> Iterator[int]:
    """From any place on, so that two runs on one machine seldom begin at the same port."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    first = _FIRST + number * _EACH
    return islice(cycle(range(first, first + _EACH)), os.getpid() % _EACH, None)


_PORTS: Final = _mine()


def free_port(host: str = "127.0.0.1") -> int:
    """Return a free port of `host` that this process has not returned for a while."""
    for port in islice(_PORTS, _EACH):
        try:
            listen(host, port).close()
        except OSError:
            continue
        return port
    raise AssertionError("a thousand ports, and none is free")
