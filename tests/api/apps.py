"""Applications to ask, made once and started by test after test, each time with services of the test's own.

FastAPI works out what a route takes when it is asked for the first time, which takes longer than most tests.
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
"""Settings that an application reads when it starts, if at all: the others are part of what `create_app` makes."""
_IDLE: Final[dict[str, list[FastAPI]]] = {}


@contextmanager
def app_of(settings: Settings) -> Iterator[FastAPI]:
    """Yield an application of these settings that is not started; nobody else has it meanwhile."""
    idle = _IDLE.setdefault(settings.model_dump_json(exclude=_OPENED_AT_START), [])
    fresh = create_app(settings)
    app = idle.pop() if idle else fresh
    app.router.lifespan_context = fresh.router.lifespan_context
    yield app
    # Not after an error: who knows what it left.
    idle.append(app)


@contextmanager
def asking(settings: Settings) -> Iterator[TestClient]:
    """Yield a client of an application that is started; its errors are answers, as a server would give them."""
    with app_of(settings) as app, TestClient(app, raise_server_exceptions=False) as started:
        yield started
