"""`a.b=c`: one field of a body, as people write it."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

_EXPONENT: Final = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")


class _Reader(yaml.SafeLoader):
    """YAML, in which 2e-5 is a number, as everybody who writes it means; to YAML 1.1 it is a word."""


_Reader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))


def read_yaml(text: str) -> Any:
    """What the YAML says. Raises `yaml.YAMLError`."""
    return _Reader(text).get_single_data()


class BadAssignment(ValueError):
    """It is no `a.b=c`, or a.b cannot hold a field."""


def assign(body: dict[str, Any], assignment: str) -> None:
    """Lay a.b=c into the nested `body`; c is read as YAML, so 2e-5 is a number and true a truth.

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
        body[last] = read_yaml(value)
    except yaml.YAMLError:
        body[last] = value
