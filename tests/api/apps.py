"""Applications for tests: each is created once, and started by many tests with their own services.

FastAPI analyses a route at its first request, which takes longer than most tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fastapi import FastAPI
from fastapi.testclient import TestClient

from api.app import create_app
from jobs.runtime.settings import Settings

_OPENED_AT_START: Final = {"data_dir", "database_url", "broker_url", "sampler_url", "port"}
"""Settings that an application reads when it starts, or never. `create_app` reads the others."""
_IDLE: Final[dict[str, list[FastAPI]]] = {}


@contextmanager
def app_of(settings: Settings) -> Iterator[FastAPI]:
    """Yield an application of these settings that is not started, and that no other test uses meanwhile."""
    idle = _IDLE.setdefault(settings.model_dump_json(exclude=_OPENED_AT_START), [])
    fresh = create_app(settings)
    app = idle.pop() if idle else fresh
    app.router.lifespan_context = fresh.router.lifespan_context
    routes = list(app.router.routes)
    yield app
    # Not after an error, when its state is unknown, and not if the test has added a route.
    if app.router.routes == routes:
        idle.append(app)


@contextmanager
def asking(settings: Settings) -> Iterator[TestClient]:
    """Yield a client of a started application, which gets errors as responses."""
    with app_of(settings) as app, TestClient(app, raise_server_exceptions=False) as started:
        yield started
