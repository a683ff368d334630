"""The socket that a server listens on, opened by whoever starts it: no port is lost between a look and a bind."""

from __future__ import annotations

import argparse
import socket


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at `host`, on any free port where `port` is 0. Raises `OSError`."""
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


def port_of(listener: socket.socket) -> int:
    """The port it listens on."""
    port: int = listener.getsockname()[1]
    return port


def free_port(host: str = "127.0.0.1") -> int:
    """A port of `host` that nobody listens on at this moment."""
    with listen(host, 0) as listener:
        return port_of(listener)


def add_argument(parser: argparse.ArgumentParser) -> None:
    """The flag by which a socket is handed over; `handed_over` has what came."""
    parser.add_argument("--fd", type=int, help="A socket that listens already, inherited; else one is opened.")


def handed_over(asked: argparse.Namespace) -> list[socket.socket] | None:
    """What uvicorn is to serve; None: it opens its own."""
    # By its own family, which uvicorn's `fd` takes for AF_UNIX: then each answer waits for Nagle's algorithm.
    return None if asked.fd is None else [socket.socket(fileno=asked.fd)]
