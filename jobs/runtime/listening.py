"""A listening socket that another process has opened and passes to a server by its file descriptor."""

from __future__ import annotations

import argparse
import socket


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag `--fd`, which passes an inherited socket; `handed_over` returns it."""
    parser.add_argument(
        "--fd", type=int, help="File descriptor of an inherited listening socket. Without it, the server opens one."
    )


def handed_over(arguments: argparse.Namespace) -> list[socket.socket] | None:
    """Return the inherited sockets that uvicorn must serve; None if it opens its own."""
    # The `fd` option of uvicorn treats every socket as AF_UNIX. Then Nagle's algorithm delays each response.
    return None if arguments.fd is None else [socket.socket(fileno=arguments.fd)]
