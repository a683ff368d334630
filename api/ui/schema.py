"""The fields of the form of a new job, as the service's own schema has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gantry.client import Json

# Shown above all others, or nobody's to choose.
_APART: Final = ("spec_version", "name", "dataset", "preset", "total_steps", "seed")
_TOP: Final = "Training"


@dataclass(frozen=True)
class Field:
    """One that is a number, a truth or one of some words."""

    path: str
    """optimizers.g.beta1"""
    about: str
    options: tuple[Any, ...] = ()
    """None: it is a number."""
    low: float | None = None
    high: float | None = None
    whole: bool = False

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


@dataclass(frozen=True)
class Group:
    """Fields that stand in one object of the spec."""

    title: str
    about: str
    fields: tuple[Field, ...]


def groups(schema: Json) -> list[Group]:
    """Every object of the spec that has such fields. Lists and maps are left to the free field."""
    whole = {name: part for name, part in schema["properties"].items() if name not in _APART}
    return [g for g in _walk(schema, "", _TOP, "", whole) if g.fields]


def value_at(spec: Mapping[str, Any], path: str) -> Any:
    """What a spec has there; None where it has nothing."""
    found: Any = spec
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _walk(schema: Json, path: str, title: str, about: str, parts: Mapping[str, Json]) -> Iterator[Group]:
    inner = {name: _resolved(schema, part) for name, part in parts.items()}
    found = (_field(f"{path}{name}", part) for name, part in inner.items())
    yield Group(title, about, tuple(field for field in found if field is not None))
    for name, part in inner.items():
        if "properties" in part:
            here = f"{path}{name}"
            yield from _walk(schema, f"{here}.", here, part.get("description", ""), part["properties"])


def _resolved(schema: Json, part: Json) -> Json:
    """With what it refers to; what it says itself comes first. Of a field that may be null, the rest."""
    if "$ref" in part:
        return {**schema["$defs"][part["$ref"].rpartition("/")[2]], **part}
    if "anyOf" in part:
        return {**next(one for one in part["anyOf"] if one.get("type") != "null"), **part}
    return part


def _field(path: str, part: Json) -> Field | None:
    about, kind = part.get("description", ""), part.get("type")
    if "enum" in part:
        return Field(path, about, tuple(part["enum"]))
    if kind == "boolean":
        return Field(path, about, (True, False))
    if kind not in ("integer", "number"):
        return None
    low = part.get("minimum", part.get("exclusiveMinimum"))
    high = part.get("maximum", part.get("exclusiveMaximum"))
    return Field(path, about, (), low, high, kind == "integer")
