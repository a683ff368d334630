"""Fields of a request body from text: assignments `a.b=c` from the command line, and bodies in YAML."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

__all__ = ["AssignmentError", "YAMLError", "assign", "problem_of", "read_yaml"]


class AssignmentError(ValueError):
    """The text is not an assignment `a.b=c`, or `a` is a value that cannot have a field `b`."""


def read_yaml(text: str) -> Any:
    """Return the content of `text`, read as YAML 1.2, in which 2e-5 is a number. It has JSON's types only.

    A date is its text. Raises `YAMLError`, also for doubled keys and for what JSON cannot express.
    """
    try:
        return _as_json(YAML(typ="safe", pure=True).load(text))
    except RecursionError:
        raise YAMLError("a part of it contains itself, or it is nested too deeply") from None


def problem_of(error: YAMLError) -> str:
    """Return what is wrong with a YAML text, with the line, as the end of a sentence."""
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    # ruamel's text for a doubled key goes on about how to allow it.
    problem = str(error.problem).split(" with value")[0] if isinstance(error, DuplicateKeyError) else error.problem
    return f"line {error.problem_mark.line + 1}: {problem}"


def assign(body: dict[str, Any], assignment: str) -> None:
    """Set the field `a.b` of the nested `body` to `c`, for the assignment `a.b=c`.

    `c` is read as YAML; if it is not valid YAML, it is a string. Raises `AssignmentError`, also for doubled keys.
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
    except DuplicateKeyError as error:
        raise AssignmentError(f"{assignment}: {problem_of(error)}.") from None
    except YAMLError:
        body[field] = value


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        if (odd := next((key for key in value if not isinstance(key, str)), None)) is not None:
            raise YAMLError(f"{odd!r} cannot be the name of a field; write it in quotes")
        return {key: _as_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_json(inner) for inner in value]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        raise YAMLError(f"{value} is not a number that a field can have")
    if isinstance(value, bytes | set | tuple):
        raise YAMLError(f"{type(value).__name__} is not a type that a field can have")
    return value
