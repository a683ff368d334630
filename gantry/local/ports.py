"""Sockets that `gantry up` opens and passes to its servers, so that a server keeps its port when it restarts."""

from __future__ import annotations

import socket

from gantry.local.errors import UpError
from gantry.local.settings import PREFIX, LocalSettings


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


def api_socket(settings: LocalSettings) -> socket.socket:
    """Return the socket of the API. Raises `UpError` if its port is taken."""
    try:
        return listen(settings.host, settings.port)
    except OSError as error:
        address = f"{settings.host}:{settings.port}"
        raise UpError(f"Cannot listen on {address}: {error.strerror}. Choose another --port, or free it.") from error


def dashboard_socket(settings: LocalSettings) -> socket.socket:
    """Return the socket of the dashboard. If its default port is taken, any free port is used.

    Raises `UpError` if a port was chosen and is taken.
    """
    try:
        return listen(settings.host, settings.ui_port)
    except OSError as error:
        if not settings.given("ui_port"):
            return listen(settings.host, 0)
        address = f"{settings.host}:{settings.ui_port}"
        sentence = f"The dashboard cannot listen on {address}: {error.strerror}. Change {PREFIX}UI_PORT."
        raise UpError(sentence) from error
