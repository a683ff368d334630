"""Puts the examples of `examples` where they belong in the document."""

from __future__ import annotations

from typing import Any, Final

from api.openapi.examples import BODIES, LABELS, OTHER_BODIES, PARAMETERS
from api.openapi.responses import Json

_LISTED: Final = "Listed_"
_MISSING: Final = object()


def illustrate(document: Json) -> Json:
    """Add an example to every parameter and body of the document that has one; return those that it refers to.

    An example of a named schema stands in the document once, because that of a job is long.
    """
    shared: Json = {}
    for methods in document["paths"].values():
        for operation in methods.values():
            _illustrate(operation, shared)
    return shared


def _illustrate(operation: Json, shared: Json) -> None:
    name = operation["operationId"]
    for parameter in operation["parameters"]:
        example = LABELS[name] if parameter["name"] == "label" else PARAMETERS.get(parameter["name"], _MISSING)
        if example is not _MISSING:
            parameter["example"] = example
    for media in operation.get("requestBody", {}).get("content", {}).values():
        _illustrate_body(media, (name, "request"), shared)
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            for media_type, media in response.get("content", {}).items():
                _illustrate_body(media, (name, media_type), shared)


def _illustrate_body(media: Json, place: tuple[str, str], shared: Json) -> None:
    schema = media.get("schema", {})
    name = _name(schema)
    if place in OTHER_BODIES:
        media["example"] = OTHER_BODIES[place]
    elif schema.get("type") == "array":
        media["example"] = [BODIES[_name(schema["items"])]]
    elif name:
        shared[name] = {"value": _of_schema(name)}
        media["examples"] = {name: {"$ref": f"#/components/examples/{name}"}}


def _of_schema(name: str) -> Any:
    if name.startswith(_LISTED):
        row = BODIES[name.removeprefix(_LISTED).removesuffix("_")]
        return {"data": [row], "has_more": False, "next_cursor": None}
    return BODIES[name]


def _name(schema: Json) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]
