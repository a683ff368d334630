"""JSON pointers (RFC 6901): conversion from and to field names, and setting of the field that one points at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def pointer_to(path: Iterable[str]) -> str:
    """Return the pointer of a path of names: ["a", "b/c"] gives "/a/b~1c"."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


def fields_of(pointer: str) -> list[str]:
    """Return the path of names of a pointer: "/a/b~1c" gives ["a", "b/c"]."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def put(body: dict[str, Any], pointer: str, value: Any) -> None:
    """Set the field of `body` that `pointer` points at.

    Missing objects on the path are created; missing list entries are not, and raise `IndexError`.
    """
    *parents, field = fields_of(pointer)
    target: Any = body
    for parent in parents:
        target = target[int(parent)] if isinstance(target, list) else target.setdefault(parent, {})
    target[int(field) if isinstance(target, list) else field] = value
