"""Keyset pages: a cursor is the last row's key, so that a page costs the same wherever it lies."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from jobs.errors import BadCursorError

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """A stretch of a list, and the opaque cursor of what follows it (None: nothing does)."""

    data: list[T]
    next_cursor: str | None


def cut(rows: Sequence[T], limit: int, name: str, key: Callable[[T], str]) -> Page[T]:
    """The page of the list `name` from `rows`, of which one more than `limit` was asked for."""
    data = list(rows[:limit])
    more = len(rows) > limit
    return Page(data, _encode([name, key(data[-1])]) if more else None)


def _encode(place: list[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def _is_id(key: object) -> bool:
    return isinstance(key, str) and key.isascii() and key.isprintable()


def decode(cursor: str, name: str) -> str:
    """The key behind a cursor of the list `name`. Raises `BadCursorError`."""
    try:
        place = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError):
        raise BadCursorError from None
    if not (isinstance(place, list) and len(place) == 2 and place[0] == name and _is_id(place[1])):
        raise BadCursorError
    key: str = place[1]
    return key
