"""The routes, one file per resource. They read the request, call `jobs` and respond: no logic, no SQL.

Every module of this package has a `router`. `find_routers` finds it, so that a new module needs no entry in a list.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Final

from fastapi import APIRouter

_ORDER: Final = (
    *("jobs", "metrics", "events", "previews", "evaluations", "checkpoints", "samples", "datasets"),
    *("contact_sheets", "presets", "schemas", "webhooks", "workers", "keys", "audit", "health"),
)
"""The order of the OpenAPI document. A module that is not named here comes after these, by its name."""


def find_routers() -> list[APIRouter]:
    """Return the router of each module of this package, in the order of the OpenAPI document."""
    found = {module.name for module in iter_modules(__path__)}
    names = [*_ORDER, *sorted(found.difference(_ORDER))]
    return [import_module(f"{__name__}.{name}").router for name in names]
