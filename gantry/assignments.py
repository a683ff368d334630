"""Fields of a request body from text: assignments `a.b=c` from the command line, and bodies in YAML."""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

__all__ = ["AssignmentError", "YAMLError", "assign", "read_yaml"]


class AssignmentError(ValueError):
    """The text is not an assignment `a.b=c`, or `a` is a value that cannot have a field `b`."""


def read_yaml(text: str) -> Any:
    """Return the content of `text`, read as YAML 1.2, in which 2e-5 is a number. Raises `YAMLError`."""
    return YAML(typ="safe", pure=True).load(text)


def assign(body: dict[str, Any], assignment: str) -> None:
    """Set the field `a.b` of the nested `body` to `c`, for the assignment `a.b=c`.

    `c` is read as YAML; if it is not valid YAML, it is a string. Raises `AssignmentError`.
    """
    path, equals, value = assignment.partition("=")
    *parents, field = (part.strip() for part in path.split("."))
    if not equals or not all([*parents, field]):
        raise AssignmentError(f"{assignment!r} is not of the form a.b=c.")
    for name in parents:
        body = body.setdefault(name, {})
        if not isinstance(body, dict):
            raise AssignmentError(f"{assignment}: {name} is a value and has no fields.")
    try:
        body[field] = read_yaml(value)
    except YAMLError:
        body[field] = value
