"""RFC 6901 pointers into a body of JSON: read, written, and followed to the field that is to be set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def pointer_to(path: Iterable[str]) -> str:
    """The pointer along these names: ["a", "b/c"] is "/a/b~1c"."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


def fields_of(pointer: str) -> list[str]:
    """The names along a pointer: "/a/b~1c" is ["a", "b/c"]."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def put(body: dict[str, Any], pointer: str, value: Any) -> None:
    """Set the field that `pointer` leads to; objects on the way that are not there are made, list entries are not."""
    *parents, field = fields_of(pointer)
    under: Any = body
    for parent in parents:
        under = under[int(parent)] if isinstance(under, list) else under.setdefault(parent, {})
    under[int(field) if isinstance(under, list) else field] = value
