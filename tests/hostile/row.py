"""A row of the matrix of bad input, and functions that rows of several kinds share."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.hostile.target import BOUNDARY, FORM, Target, part

FILE_PART: Final = part("file", b"PK", "a.zip")

END_OF_FORM: Final = f"--{BOUNDARY}--\r\n".encode()


@dataclass(frozen=True)
class HostileRow:
    """One bad input: its kind and name, the expected answers, and the function that sends it."""

    kind: str
    name: str
    wanted: tuple[str, ...]
    send: Callable[[Target], str]
    slow: bool = False
    """Whether it lasts until a timeout of the service."""


def raw_request(kind: str, name: str, wanted: tuple[str, ...], make: Callable[[Target], list[bytes]]) -> HostileRow:
    return HostileRow(kind, name, wanted, lambda target: target.raw(make(target), wait=60))


def send_slowly(target: Target) -> str:
    return target.raw([begin_upload(target, 10**6) + FILE_PART[:-2], *[b"x"] * 100], pause=1.0)


def begin_upload(target: Target, length: int) -> bytes:
    return target.head("POST", "/v1/datasets", {**FORM, "Content-Length": length, "Connection": "close"})


def send_aborted_upload(target: Target) -> str:
    before = target.http.get("/v1/datasets").json()["data"]
    target.raw([begin_upload(target, 10**6) + FILE_PART[:-2] + bytes(100_000)], pause=0.2, wait=0.2)
    time.sleep(0.5)
    return "nothing kept" if target.http.get("/v1/datasets").json()["data"] == before else "kept"


def many_headers(many: int) -> bytes:
    lines = b"".join(b"X-%d: y\r\n" % number for number in range(many))
    return f"--{BOUNDARY}\r\n".encode() + lines + b"\r\nx\r\n" + END_OF_FORM


def small_picture() -> Any:
    from PIL import Image

    return Image.new("RGB", (20, 20), "red")
