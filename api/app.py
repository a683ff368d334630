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
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import Scope

from api import prometheus
from api.auth import OPEN, authenticate
from api.http import problems, security_headers
from api.http.middleware import AccessLog, BodyLimit, BodyTime, HeadRequests, ProblemResponses
from api.http.parameters import checked
from api.http.security_headers import SecurityHeaders
from api.openapi import ANY_PROBLEM, document
from api.routes import (
    audit,
    checkpoints,
    contact_sheets,
    datasets,
    evaluations,
    events,
    health,
    jobs,
    keys,
    metrics,
    presets,
    previews,
    samples,
    schemas,
    webhooks,
    workers,
)
from api.services import Services
from jobs.errors import UploadsBusyError
from jobs.runtime.limiter import ConcurrencyLimiter
from jobs.runtime.settings import Settings

LARGEST_BODY_BYTES: Final = 256 * 1024
BODY_SECONDS: Final = 30.0
"""What such a body has to come in."""

_ROUTES: Final = (
    jobs,
    metrics,
    events,
    previews,
    evaluations,
    checkpoints,
    samples,
    datasets,
    contact_sheets,
    presets,
    schemas,
    webhooks,
    workers,
    keys,
    audit,
    health,
)
_ASKED_FROM_ELSEWHERE: Final = (
    *("Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "If-Range", "Last-Event-ID", "Prefer"),
    *("Range", problems.REQUEST_ID),
)
_TOLD_ELSEWHERE: Final = (
    *("Content-Disposition", "Content-Range", "ETag", "Idempotency-Replayed", "Location", "Preference-Applied"),
    *("Retry-After", "X-Checkpoint-Id", problems.REQUEST_ID),
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
        docs_url="/docs" if settings.docs else None,
        redoc_url="/redoc" if settings.docs else None,
        title="Gantry",
        version=version("gantry"),
        summary="GAN training as a service: post a job, watch its curves, fetch images by class label.",
        lifespan=lifespan,
        # A slash too many is another address: 404, not a redirect without a problem's body.
        redirect_slashes=False,
        separate_input_output_schemas=False,
        dependencies=[Depends(_at_the_door)],
        responses=ANY_PROBLEM,
    )
    for module in _ROUTES:
        app.include_router(module.router)
    app.state.upload_places = ConcurrencyLimiter(
        settings.uploads_at_once,
        UploadsBusyError,
        "As many uploads as are taken at a time are under way; try again in a while.",
    )
    problems.install(app)
    _surround(app, settings)
    _documents(app, settings)
    return app


async def _at_the_door(request: Request) -> None:
    """What stands before every route; one dependency, as FastAPI's own work for each is a tenth of a poll."""
    await authenticate(request)
    await checked(request)


def _takes_files(scope: Scope) -> bool:
    return scope["type"] == "http" and (scope["method"], scope["path"]) == ("POST", "/v1/datasets")


def _surround(app: FastAPI, settings: Settings) -> None:
    """Middleware; what is added last stands outermost."""
    prometheus.install(app, lambda: app.state.services.db)
    app.add_middleware(BodyTime, seconds=BODY_SECONDS, but=_takes_files)
    # Inside Problems, as it answers in its own words; FastAPI's max_body_size= would stand outside of it.
    app.add_middleware(BodyLimit, most_bytes=LARGEST_BODY_BYTES, but=_takes_files)
    if settings.origins:
        # A key is sent in a header by whoever has it. There are no cookies, and so no credentials to share.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=_ASKED_FROM_ELSEWHERE,
            expose_headers=_TOLD_ELSEWHERE,
        )
    app.add_middleware(ProblemResponses)
    app.add_middleware(HeadRequests)
    app.add_middleware(SecurityHeaders, rules=security_headers.of_api)
    app.add_middleware(AccessLog)
    app.add_middleware(
        CorrelationIdMiddleware,
        header_name=problems.REQUEST_ID,
        validator=lambda text: _REQUEST_ID.fullmatch(text) is not None,
    )


def _documents(app: FastAPI, settings: Settings) -> None:
    """The document for programs, and the ways to what is for people."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    # FastAPI's own route stands outside of `checked`.
    assert app.openapi_url is not None
    app.router.routes[:] = [r for r in app.routes if getattr(r, "path", None) != app.openapi_url]

    @app.get(app.openapi_url, include_in_schema=False, dependencies=[OPEN])
    async def openapi_json() -> JSONResponse:
        return JSONResponse(openapi())

    # The dashboard is a process of its own: it holds connections, and loads what this one does without.
    async def dashboard(request: Request) -> RedirectResponse:
        path = request.url.path.removeprefix(request.scope.get("root_path", ""))
        return RedirectResponse(str(request.url.replace(port=settings.ui_port, path=path)), status_code=307)

    # Plain routes, as a query that the API does not know is the dashboard's to read.
    app.add_route("/ui", dashboard, include_in_schema=False)
    app.add_route("/ui/{path:path}", dashboard, include_in_schema=False)

    @app.get("/", include_in_schema=False, dependencies=[OPEN])
    async def home(request: Request) -> RedirectResponse:
        place = "/docs" if settings.docs else "/ui"
        return RedirectResponse(f"{request.scope.get('root_path', '')}{place}", status_code=307)
