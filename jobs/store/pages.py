"""Keyset pagination: a cursor is the key of the last row, so that every page costs the same."""

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
    """One page of a list, and the opaque cursor of the next one (None: this is the last)."""

    data: list[T]
    next_cursor: str | None


def cut(rows: Sequence[T], limit: int, name: str, key: Callable[[T], str]) -> Page[T]:
    """Return the page of the list `name` from `rows`, of which one more than `limit` was fetched."""
    data = list(rows[:limit])
    more = len(rows) > limit
    return Page(data, _encode([name, key(data[-1])]) if more else None)


def _encode(position: list[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def _is_id(key: object) -> bool:
    return isinstance(key, str) and key.isascii() and key.isprintable()


def decode(cursor: str, name: str) -> str:
    """Return the key in a cursor of the list `name`. Raises `BadCursorError`."""
    try:
        position = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError):
        raise BadCursorError from None
    if not (isinstance(position, list) and len(position) == 2 and position[0] == name and _is_id(position[1])):
        raise BadCursorError
    key: str = position[1]
    return key
