"""Sockets that listen, opened by the process that starts a server, so that the port cannot be lost in between."""

from __future__ import annotations

import socket


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at `host`, on any free port if `port` is 0. Raises `OSError`."""
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


def port_of(listener: socket.socket) -> int:
    """Return the port that `listener` listens on."""
    port: int = listener.getsockname()[1]
    return port


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port of `host` on which nothing listens at this moment."""
    with listen(host, 0) as listener:
        return port_of(listener)
