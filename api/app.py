"""The HTTP application. Nothing is opened until it starts, and torch is nowhere near it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Final

from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi_offline import FastAPIOffline
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

from api import problems, telemetry
from api.middleware import AccessLog, Head, Problems
from api.parameters import checked
from api.routes import (
    checkpoints,
    datasets,
    events,
    health,
    jobs,
    metrics,
    presets,
    previews,
    samples,
    schemas,
    workers,
)
from api.schemas import Problem
from api.services import Services
from gan.spec import TrainSpec
from jobs.settings import Settings

LARGEST_BODY_BYTES: Final = 256 * 1024

_ROUTES: Final = (
    jobs,
    metrics,
    events,
    previews,
    checkpoints,
    samples,
    datasets,
    presets,
    schemas,
    workers,
    health,
)
_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_REF: Final = "#/components/schemas/{model}"
_PROBLEM: Final[dict[int | str, dict[str, Any]]] = {
    "default": {
        "description": "RFC 9457 problem.",
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}},
    }
}


def create_app(settings: Settings) -> FastAPI:
    """The application for one process."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.services = Services.open(settings)
        yield
        await app.state.services.close()

    app: FastAPI = FastAPIOffline(
        title="Gantry",
        version=version("gantry"),
        summary="GAN training as a service: post a job, watch its curves, fetch images by class label.",
        lifespan=lifespan,
        # A slash too many is another address: 404, not a redirect without a problem's body.
        redirect_slashes=False,
        separate_input_output_schemas=False,
        dependencies=[Depends(checked)],
        responses=_PROBLEM,
    )
    for module in _ROUTES:
        app.include_router(module.router)
    problems.install(app)
    _surround(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _surround(app: FastAPI) -> None:
    """Middleware; what is added last stands outermost."""
    telemetry.install(app, lambda: app.state.services.db)
    # Inside Problems, as it answers in its own words; FastAPI's max_body_size= would stand outside of it.
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=LARGEST_BODY_BYTES)
    app.add_middleware(Problems)
    app.add_middleware(Head)
    app.add_middleware(AccessLog)
    app.add_middleware(
        CorrelationIdMiddleware,
        header_name=problems.REQUEST_ID,
        validator=lambda text: _REQUEST_ID.fullmatch(text) is not None,
    )


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document, with the two schemas that no route's signature names."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            routes=app.routes,
            separate_input_output_schemas=False,
        )
        known = document["components"]["schemas"]
        for model in (TrainSpec, Problem):
            schema = model.model_json_schema(ref_template=_REF)
            known.update(schema.pop("$defs", {}))
            known[model.__name__] = schema
        app.openapi_schema = document
    return app.openapi_schema
