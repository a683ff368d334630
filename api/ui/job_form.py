"""The form of a new job: the request body that it stands for, and the form field of each problem."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final

from gantry.assignments import AssignmentError, assign
from gantry.client import Json

FIELDS: Final = ("preset", "dataset", "total_steps", "seed", "name")
OTHER: Final = "other"
"""The free text field with one `a.b=c` on each line."""


@dataclass
class JobForm:
    """The values of the form. For None or an empty value, the preset's value holds."""

    preset: str | None = None
    dataset: str | None = None
    total_steps: float | None = None
    seed: float | None = None
    name: str | None = None
    other: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    """The values of all other fields that are filled in, by path such as `optimizers.g.beta1`."""
    base: Json = field(default_factory=dict)
    """The spec of an earlier job, which the fields override; empty for a job from a preset."""

    def body(self) -> Json:
        """Return the body for POST /v1/jobs. Raises `AssignmentError` for an invalid line of the free text field."""
        body: Json = deepcopy(self.base)
        for name in FIELDS:
            value = whole(getattr(self, name))
            if value not in (None, ""):
                body[name] = value
            elif name == "name":
                body.pop(name, None)
        for path, value in self.fields.items():
            set_at(body, path, whole(value))
        for line in self.lines():
            assign(body, line)
        return body

    def lines(self) -> list[str]:
        """Return the lines of the free text field without empty ones."""
        return [line.strip() for line in self.other.splitlines() if line.strip()]

    def problem(self) -> str | None:
        """Return the problem of the free text field, or None if all its lines are valid."""
        try:
            self.body()
        except AssignmentError as error:
            return str(error)
        return None


def whole(value: Any) -> Any:
    """Return 2000 for 2000.0, because number inputs give floats. Keep a fraction, which the service refuses."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def set_at(body: Json, path: str, value: Any) -> None:
    """Set the field `path`, such as `optimizers.g.beta1`, in the nested `body`."""
    *parents, last = path.split(".")
    for name in parents:
        body = body.setdefault(name, {})
    body[last] = value


def assign_problems(errors: Sequence[Json], form: JobForm) -> tuple[dict[str, str], list[str]]:
    """Return the problems by form field, and a list of those without a field, each with its path in the spec."""
    free_paths = [line.partition("=")[0].strip() for line in form.lines()]
    at: dict[str, list[str]] = {}
    rest = []
    for error in errors:
        path = ".".join(p.replace("~1", "/").replace("~0", "~") for p in error["pointer"].split("/")[1:])
        if path in (*FIELDS, *form.fields) and path not in free_paths:
            at.setdefault(path, []).append(error["detail"])
        elif any(path == free or path.startswith(free + ".") or free.startswith(path + ".") for free in free_paths):
            at.setdefault(OTHER, []).append(f"{path}: {error['detail']}")
        else:
            rest.append(f"{path}: {error['detail']}" if path else error["detail"])
    return {name: " ".join(details) for name, details in at.items()}, rest
