"""Keyset pages: a cursor is the last row's key, so that a page costs the same wherever it lies."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from jobs.errors import BadCursor

T = TypeVar("T")
K = TypeVar("K", str, int)


@dataclass(frozen=True)
class Page(Generic[T]):
    """A stretch of a list, and the opaque cursor of what follows it (None: nothing does)."""

    data: list[T]
    next_cursor: str | None


def cut(rows: Sequence[T], limit: int, key: Callable[[T], str | int]) -> Page[T]:
    """The page of `rows`, which were asked for one more than `limit`."""
    data = list(rows[:limit])
    more = len(rows) > limit
    return Page(data, encode(key(data[-1])) if more else None)


def encode(key: str | int) -> str:
    """An opaque cursor for a row's key."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def decode(cursor: str, kind: type[K]) -> K:
    """The key behind a cursor. Raises `BadCursor`."""
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError):
        raise BadCursor from None
    if type(key) is not kind:
        raise BadCursor
    return key
