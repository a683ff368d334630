"""What the form of a new job means: the body it posts, and at which field a problem belongs."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final

from gantry.assignments import AssignmentError, assign
from gantry.client import Json

FIELDS: Final = ("preset", "dataset", "total_steps", "seed", "name")
OTHER: Final = "other"
"""The free field, one a.b=c a line."""


@dataclass
class Form:
    """What stands in the fields; None and empty: left to the preset."""

    preset: str | None = None
    dataset: str | None = None
    total_steps: float | None = None
    seed: float | None = None
    name: str | None = None
    other: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    """All that is filled in of the others, by path."""
    base: Json = field(default_factory=dict)
    """The whole spec that the fields are laid over, of a job that is done again; else empty."""

    def body(self) -> Json:
        """For POST /v1/jobs. Raises `AssignmentError`."""
        body: Json = deepcopy(self.base)
        for name in FIELDS:
            value = whole(getattr(self, name))
            if value not in (None, ""):
                body[name] = value
            elif name == "name":
                body.pop(name, None)
        for path, filled in self.fields.items():
            put_at(body, path, whole(filled))
        for line in self.lines():
            assign(body, line)
        return body

    def lines(self) -> list[str]:
        return [line.strip() for line in self.other.splitlines() if line.strip()]

    def problem(self) -> str | None:
        """What is wrong with the free field, if anything."""
        try:
            self.body()
        except AssignmentError as error:
            return str(error)
        return None


def whole(value: Any) -> Any:
    """2000.0 of a number's field is 2000; what has a fraction is left for the service to refuse."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def put_at(body: Json, path: str, filled: Any) -> None:
    """Lay a field into the nested body."""
    *parents, last = path.split(".")
    for name in parents:
        body = body.setdefault(name, {})
    body[last] = filled


def placed(errors: Sequence[Json], form: Form) -> tuple[dict[str, str], list[str]]:
    """Problems by the field that they belong to; and those of no field, with the way to what they mean."""
    set_here = [line.partition("=")[0].strip() for line in form.lines()]
    at: dict[str, list[str]] = {}
    rest = []
    for error in errors:
        path = ".".join(p.replace("~1", "/").replace("~0", "~") for p in error["pointer"].split("/")[1:])
        if path in (*FIELDS, *form.fields) and path not in set_here:
            at.setdefault(path, []).append(error["detail"])
        elif any(path == mine or path.startswith(mine + ".") or mine.startswith(path + ".") for mine in set_here):
            at.setdefault(OTHER, []).append(f"{path}: {error['detail']}")
        else:
            rest.append(f"{path}: {error['detail']}" if path else error["detail"])
    return {name: " ".join(details) for name, details in at.items()}, rest
