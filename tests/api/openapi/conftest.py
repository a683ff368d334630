"""The committed document, which another test compares with the interface."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

Json = dict[str, Any]


@pytest.fixture(scope="session")
def committed() -> Json:
    document: Json = json.loads((Path(__file__).parents[3] / "docs" / "openapi.json").read_text(encoding="utf-8"))
    return document


def operations(document: Json) -> list[Json]:
    """Return all operations of the document, with the service's own requests to webhooks."""
    return [
        about for part in ("paths", "webhooks") for methods in document[part].values() for about in methods.values()
    ]


def named(document: Json, schema: Any) -> set[str]:
    """Return the names of the schemas that `schema` refers to, also indirectly."""
    found: set[str] = set()
    waiting = [schema]
    while waiting:
        match waiting.pop():
            case {"$ref": str(reference), **rest}:
                name = reference.rpartition("/")[2]
                if reference.startswith("#/components/schemas/") and name not in found:
                    found.add(name)
                    waiting.append(document["components"]["schemas"][name])
                waiting.extend(rest.values())
            case dict(members):
                waiting.extend(members.values())
            case list(members):
                waiting.extend(members)
    return found
