"""The schemas of the document: those of requests apart from those of responses, and rows with some of their fields.

A response has all of its fields. A request has those that its sender wants to set: its schema states no defaults,
because generated clients send every default that a schema states. `{"preset": "dcgan"}` would be sent with the
`total_steps` of no preset, and would override that of `dcgan`. The descriptions say what an omitted field means.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from api.openapi.responses import REF, Json
from api.schemas.keys import NewKey, Quotas, Rotation
from api.schemas.webhooks import WebhookBody, WebhookChange
from gan.spec import PRESETS, TrainSpec

REQUESTS: Final[tuple[type[BaseModel], ...]] = (TrainSpec, NewKey, Rotation, Quotas, WebhookBody, WebhookChange)
"""The bodies that routes read with `api.http.bodies`."""

_INPUT: Final = "{name}Input"
_PARTIAL: Final = "Partial{name}"
_MAPS: Final = ("properties", "patternProperties", "$defs")
_LISTS: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLES: Final = ("items", "additionalProperties", "propertyNames", "not")
# Of these models an omitted field is left as it is: their defaults are never used.
_CHANGES: Final = (Quotas, WebhookChange)


def add_requests(schemas: Json) -> dict[str, str]:
    """Add the schemas of request bodies; return the reference of each model's request by that of its response.

    A schema that responses have under the same name gets another name.
    """
    references = {}
    for model in REQUESTS:
        of_model = model.model_json_schema(ref_template=REF)
        parts = {**of_model.pop("$defs", {}), model.__name__: of_model}
        names = {name: _input_name(name, part, schemas) for name, part in parts.items()}
        renamed = {REF.format(model=old): REF.format(model=new) for old, new in names.items()}
        for name, part in parts.items():
            _describe_defaults(part, _preset_fields() if model is TrainSpec else (), told=model not in _CHANGES)
            # Generators name their classes for the titles, too.
            schemas[names[name]] = {**with_references(part, renamed), "title": names[name]}
        references[REF.format(model=model.__name__)] = renamed[REF.format(model=model.__name__)]
    return references


def with_references(schema: Any, new: Mapping[str, str]) -> Any:
    """Return a copy of a schema with other references."""
    if isinstance(schema, dict):
        return {
            key: new.get(value, value) if key == "$ref" and isinstance(value, str) else with_references(value, new)
            for key, value in schema.items()
        }
    return [with_references(one, new) for one in schema] if isinstance(schema, list) else schema


def remove_defaults(schema: Json) -> None:
    """Remove the defaults from a schema and its parts. A response has no defaults, and a request must not."""
    for part in subschemas(schema):
        part.pop("default", None)


def subschemas(schema: Any) -> Iterator[Json]:
    """Yield a schema and all its parts. A property may be called `default`, too."""
    if not isinstance(schema, dict):
        return
    yield schema
    for key in _MAPS:
        for part in schema.get(key, {}).values():
            yield from subschemas(part)
    for key in _LISTS:
        for part in schema.get(key, ()):
            yield from subschemas(part)
    for key in _SINGLES:
        yield from subschemas(schema.get(key))


def tell_default(described: Json, default: object, suffix: str = "") -> None:
    """Add a default to the description in `described`, if it does not name it."""
    about = described.get("description", "")
    if "Default:" not in about:
        text = default if isinstance(default, str) else json.dumps(default)
        described["description"] = f"{about} Default: {suffix}{text}.".strip()


def allow_some_fields(page: Json, schemas: Json) -> None:
    """Let the rows of the list with the schema `page` have some of their fields only."""
    items = page["properties"]["data"]["items"]
    name = items["$ref"].rpartition("/")[2]
    partial = _PARTIAL.format(name=name)
    schemas[partial] = {
        **{key: value for key, value in schemas[name].items() if key != "required"},
        "title": partial,
        "description": f"A row with the fields that the parameter `fields` asked for. {schemas[name]['description']}",
    }
    page["properties"]["data"]["items"] = {"anyOf": [items, {"$ref": REF.format(model=partial)}]}


def _input_name(name: str, part: Json, schemas: Json) -> str:
    """Return the name of a schema of requests; an enum is the same in both directions."""
    return _INPUT.format(name=name) if name in schemas and "properties" in part else name


def _describe_defaults(schema: Json, of_preset: frozenset[str] | tuple[()], *, told: bool) -> None:
    for name, field in schema.get("properties", {}).items():
        # An object as a default: the description of each of its fields has its own.
        if told and "default" in field and not isinstance(field["default"], dict):
            tell_default(field, field["default"], "the preset's value, or else " if name in of_preset else "")
    remove_defaults(schema)


def _preset_fields() -> frozenset[str]:
    """Return the names of the fields that some preset sets."""
    return frozenset(name for preset in PRESETS.values() for name in _names(preset.overrides))


def _names(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield name
            yield from _names(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _names(inner)
