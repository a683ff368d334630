"""The fields of the form of a new job, from the JSON schema of the service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gantry.client import Json

# Fields that the form shows separately, or that a user cannot choose.
_EXCLUDED: Final = ("spec_version", "name", "dataset", "preset", "total_steps", "seed")
_TOP: Final = "Training"


@dataclass(frozen=True)
class Field:
    """One number, boolean or enum of the spec."""

    path: str
    """The path in the spec, such as `optimizers.g.beta1`."""
    about: str
    """The description from the schema."""
    options: tuple[Any, ...] = ()
    """The values to choose from; empty for a number."""
    low: float | None = None
    high: float | None = None
    whole: bool = False
    """Whether it is an integer."""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True)
class Group:
    """The fields of one object of the spec."""

    title: str
    about: str
    fields: tuple[Field, ...]


def groups(schema: Json) -> list[Group]:
    """Return one group for each object of the spec with such fields. Lists and maps belong in the free text field."""
    whole = {name: part for name, part in schema["properties"].items() if name not in _EXCLUDED}
    return [g for g in _walk(schema, "", _TOP, "", whole) if g.fields]


def value_at(spec: Mapping[str, Any], path: str) -> Any:
    """Return the value at `path` of a spec, or None if there is none."""
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
            inner_path = f"{path}{name}"
            yield from _walk(schema, f"{inner_path}.", inner_path, part.get("description", ""), part["properties"])


def _resolved(schema: Json, part: Json) -> Json:
    """Return `part` merged with its `$ref`, or with its type other than null. The keys of `part` have priority."""
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
