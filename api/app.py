"""The HTTP application. It opens nothing before it starts, and it never loads torch."""

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
from api.http.compression import Compression
from api.http.middleware import AccessLog, BodyLimit, BodyTimeout, HeadRequests, ProblemResponses
from api.http.parameters import check_parameters
from api.http.security_headers import SecurityHeaders
from api.openapi import ANY_PROBLEM, document, served_at
from api.routes import find_routers
from api.services import Services
from jobs.errors import UploadsBusyError
from jobs.runtime.limiter import ConcurrencyLimiter
from jobs.runtime.settings import Settings

LARGEST_BODY_BYTES: Final = 256 * 1024
BODY_SECONDS: Final = 30.0
"""The time in which such a body must arrive."""

_ROUTERS: Final = find_routers()
_CORS_REQUEST_HEADERS: Final = (
    *("Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "If-Range", "Last-Event-ID", "Prefer"),
    *("Range", problems.REQUEST_ID),
)
_CORS_EXPOSED_HEADERS: Final = (
    *("Content-Disposition", "Content-Range", "ETag", "Idempotency-Replayed", "Location", "Preference-Applied"),
    *("Retry-After", "X-Checkpoint-Id", problems.REQUEST_ID),
)
_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")


def create_app(settings: Settings) -> FastAPI:
    """Return the application for one process."""

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
        # A path with a trailing slash is unknown: it gets a 404 problem, not a redirect, which would have no body.
        redirect_slashes=False,
        dependencies=[Depends(_check_request)],
        responses=ANY_PROBLEM,
    )
    for router in _ROUTERS:
        app.include_router(router)
    app.state.upload_limiter = ConcurrencyLimiter(
        settings.uploads_at_once,
        UploadsBusyError,
        "The service is receiving as many uploads as it accepts at a time. Try again later.",
    )
    problems.install(app)
    _add_middleware(app, settings)
    _add_documentation(app, settings)
    return app


async def _check_request(request: Request) -> None:
    """Authenticate the caller and check the query parameters, before every route.

    This is one dependency and not two: FastAPI's own work for each is a tenth of the time of a poll.
    """
    await authenticate(request)
    await check_parameters(request)


def _takes_files(scope: Scope) -> bool:
    return scope["type"] == "http" and (scope["method"], scope["path"]) == ("POST", "/v1/datasets")


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """Add the middleware; the one that is added last is the outermost."""
    prometheus.install(app, lambda: app.state.services.db)
    app.add_middleware(BodyTimeout, seconds=BODY_SECONDS, exempt=_takes_files)
    # Inside ProblemResponses, because it answers in plain text. FastAPI's max_body_size= would be outside of it.
    app.add_middleware(BodyLimit, most_bytes=LARGEST_BODY_BYTES, exempt=_takes_files)
    if settings.origins:
        # No allow_credentials: clients send keys in a header, and there are no cookies.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=_CORS_REQUEST_HEADERS,
            expose_headers=_CORS_EXPOSED_HEADERS,
        )
    app.add_middleware(Compression)
    app.add_middleware(ProblemResponses)
    app.add_middleware(HeadRequests)
    app.add_middleware(SecurityHeaders, rules=security_headers.api_headers)
    app.add_middleware(AccessLog)
    app.add_middleware(
        CorrelationIdMiddleware,
        header_name=problems.REQUEST_ID,
        validator=lambda text: _REQUEST_ID.fullmatch(text) is not None,
    )


def _add_documentation(app: FastAPI, settings: Settings) -> None:
    """Add the route of the OpenAPI document, and redirects to the documentation and the dashboard."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    # FastAPI's own route for the document bypasses `_check_request`: replace it.
    assert app.openapi_url is not None
    app.router.routes[:] = [r for r in app.routes if getattr(r, "path", None) != app.openapi_url]

    @app.get(app.openapi_url, include_in_schema=False, dependencies=[OPEN])
    async def openapi_json(request: Request) -> JSONResponse:
        return JSONResponse(served_at(openapi(), request.scope.get("root_path", "")))

    # The dashboard is a separate process: it keeps connections open and loads libraries that this process does not.
    async def dashboard(request: Request) -> RedirectResponse:
        path = request.url.path.removeprefix(request.scope.get("root_path", ""))
        return RedirectResponse(str(request.url.replace(port=settings.ui_port, path=path)), status_code=307)

    # Plain routes, without `_check_request`: the dashboard has query parameters that the API does not know.
    app.add_route("/ui", dashboard, include_in_schema=False)
    app.add_route("/ui/{path:path}", dashboard, include_in_schema=False)

    @app.get("/", include_in_schema=False, dependencies=[OPEN])
    async def home(request: Request) -> RedirectResponse:
        path = "/docs" if settings.docs else "/ui"
        return RedirectResponse(f"{request.scope.get('root_path', '')}{path}", status_code=307)
