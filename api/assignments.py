"""`a.b=c`: one field of a body, as people write it."""

from __future__ import annotations

from typing import Any

import yaml


class BadAssignment(ValueError):
    """It is no `a.b=c`, or a.b cannot hold a field."""


def assign(body: dict[str, Any], assignment: str) -> None:
    """Lay a.b=c into the nested `body`; c is read as YAML, so 0.5 is a number and true a truth.

    Raises `BadAssignment`.
    """
    path, equals, value = assignment.partition("=")
    *parents, last = (part.strip() for part in path.split("."))
    if not equals or not all([*parents, last]):
        raise BadAssignment(f"a.b=c is needed; {assignment!r} is not that.")
    for name in parents:
        body = body.setdefault(name, {})
        if not isinstance(body, dict):
            raise BadAssignment(f"{assignment}: {name} is a value, not an object.")
    try:
        body[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        body[last] = value
