"""`a.b=c`: one field of a request body, as people write it on a command line; and bodies written as YAML."""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

__all__ = ["AssignmentError", "YAMLError", "assign", "read_yaml"]


class AssignmentError(ValueError):
    """The text is not of the form `a.b=c`, or `a.b` cannot hold a field."""


def read_yaml(text: str) -> Any:
    """Return what `text` says in YAML 1.2, where 2e-5 is a number. Raises `YAMLError`."""
    return YAML(typ="safe", pure=True).load(text)


def assign(body: dict[str, Any], assignment: str) -> None:
    """Set the field `a.b` of the nested `body` to `c`, for the assignment `a.b=c`. `c` is read as YAML.

    Raises `AssignmentError`.
    """
    path, equals, value = assignment.partition("=")
    *parents, last = (part.strip() for part in path.split("."))
    if not equals or not all([*parents, last]):
        raise AssignmentError(f"a.b=c is needed; {assignment!r} is not that.")
    for name in parents:
        body = body.setdefault(name, {})
        if not isinstance(body, dict):
            raise AssignmentError(f"{assignment}: {name} is a value, not an object.")
    try:
        body[last] = read_yaml(value)
    except YAMLError:
        body[last] = value
