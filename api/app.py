"""The HTTP application. Nothing is opened until it starts, and torch is nowhere near it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Final

from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import Depends, FastAPI, Request
from fastapi_offline import FastAPIOffline
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import Receive, Scope, Send

from api import problems, telemetry
from api.middleware import AccessLog, Head, Problems
from api.openapi import ANY_PROBLEM, document
from api.parameters import checked
from api.routes import (
    checkpoints,
    datasets,
    evaluations,
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
from api.services import Services
from jobs.settings import Settings

LARGEST_BODY_BYTES: Final = 256 * 1024

_ROUTES: Final = (
    jobs,
    metrics,
    events,
    previews,
    evaluations,
    checkpoints,
    samples,
    datasets,
    presets,
    schemas,
    workers,
    health,
)
_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")


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
        responses=ANY_PROBLEM,
    )
    for module in _ROUTES:
        app.include_router(module.router)
    problems.install(app)
    _surround(app)
    _documents(app, settings.ui_port)
    return app


class _BodyLimit(RequestBodyLimitMiddleware):
    """For every route but the one that takes files, which counts for itself."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope["method"], scope["path"]) == ("POST", "/v1/datasets"):
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def _surround(app: FastAPI) -> None:
    """Middleware; what is added last stands outermost."""
    telemetry.install(app, lambda: app.state.services.db)
    # Inside Problems, as it answers in its own words; FastAPI's max_body_size= would stand outside of it.
    app.add_middleware(_BodyLimit, max_body_size=LARGEST_BODY_BYTES)
    app.add_middleware(Problems)
    app.add_middleware(Head)
    app.add_middleware(AccessLog)
    app.add_middleware(
        CorrelationIdMiddleware,
        header_name=problems.REQUEST_ID,
        validator=lambda text: _REQUEST_ID.fullmatch(text) is not None,
    )


def _documents(app: FastAPI, ui_port: int) -> None:
    """The document for programs, and the ways to what is for people."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    # FastAPI's own route stands outside of `checked`.
    assert app.openapi_url is not None
    app.router.routes[:] = [r for r in app.routes if getattr(r, "path", None) != app.openapi_url]

    @app.get(app.openapi_url, include_in_schema=False)
    async def openapi_json() -> JSONResponse:
        return JSONResponse(openapi())

    # The dashboard is a process of its own: it holds connections, and loads what this one does without.
    async def dashboard(request: Request) -> RedirectResponse:
        path = request.url.path.removeprefix(request.scope.get("root_path", ""))
        return RedirectResponse(str(request.url.replace(port=ui_port, path=path)), status_code=307)

    # Plain routes, as a query that the API does not know is the dashboard's to read.
    app.add_route("/ui", dashboard, include_in_schema=False)
    app.add_route("/ui/{path:path}", dashboard, include_in_schema=False)

    @app.get("/", include_in_schema=False)
    async def home(request: Request) -> RedirectResponse:
        return RedirectResponse(f"{request.scope.get('root_path', '')}/docs", status_code=307)
