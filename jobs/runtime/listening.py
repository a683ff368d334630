"""A listening socket that another process has opened and hands to a server by its file descriptor."""

from __future__ import annotations

import argparse
import socket


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag `--fd`, by which a socket is handed over; `handed_over` returns it."""
    parser.add_argument("--fd", type=int, help="An inherited socket that listens already; without it, one is opened.")


def handed_over(arguments: argparse.Namespace) -> list[socket.socket] | None:
    """Return the sockets that uvicorn is to serve; None if it opens its own."""
    # uvicorn's own `fd` option takes every socket for AF_UNIX. Then Nagle's algorithm delays each response.
    return None if arguments.fd is None else [socket.socket(fileno=arguments.fd)]
