"""Every HTTP error as RFC 9457 `application/problem+json`: one table of statuses, one shape of body.

The ready-made packages give extension members, pointers and the framework's own errors a different shape each. The
API promises one shape for all. To adapt a package to it takes more code than this module.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from asgi_correlation_id import correlation_id
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from api.http.errors import (
    BadParametersError,
    MalformedJsonError,
    NoSuchPresetError,
    NotAcceptableError,
    NotReadyError,
    SamplerExportError,
    UnsupportedMediaTypeError,
)
from api.http.security_headers import api_headers
from gan.spec import PRESETS, PROBLEM_CODES, SpecError, SpecProblem, UnknownPresetError, pointer_to
from jobs.errors import (
    ArtifactLostError,
    BadUploadError,
    BusyError,
    ConflictError,
    FencedError,
    GantryError,
    InsufficientScopeError,
    InvalidKeyError,
    InvalidRequestError,
    InvalidTransitionError,
    MissingKeyError,
    NotFoundError,
    QuotaExceededError,
    QuotaUsedUpError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
    UnknownDatasetError,
    UnknownLabelError,
    UnknownMetricError,
    UploadTooLargeError,
)

MEDIA_TYPE: Final = "application/problem+json"
# An archive may have a hundred problems.
_MOST_IN_DETAIL: Final = 10
REQUEST_ID: Final = "X-Request-Id"

STATUS: Final[dict[type[Exception], int]] = {
    NotFoundError: 404,
    ConflictError: 409,
    MissingKeyError: 401,
    InvalidKeyError: 401,
    InsufficientScopeError: 403,
    QuotaExceededError: 429,
    QuotaUsedUpError: 403,
    RateLimitedError: 429,
    RefusedError: 403,
    UnavailableError: 503,
    FencedError: 500,
    ArtifactLostError: 500,
    SamplerExportError: 501,
    MalformedJsonError: 400,
    UnsupportedMediaTypeError: 415,
    NotAcceptableError: 406,
    UploadTooLargeError: 413,
    InvalidRequestError: 422,
    SpecError: 422,
}
"""The status of each class of errors; for an error, the nearest of its base classes counts."""

_VALID_NAMES: Final[dict[type[Exception], str]] = {
    UnknownLabelError: "valid_labels",
    UnknownDatasetError: "valid_datasets",
    UnknownMetricError: "valid_names",
    NotAcceptableError: "valid_types",
}

FRAMEWORK_CODES: Final = {
    404: ("not-found", "There is nothing at this address; /openapi.json lists all addresses."),
    405: (
        "method-not-allowed",
        "This address does not accept this method; the Allow header lists those that it does.",
    ),
    408: ("request-timeout", "The body did not arrive in time; send it without pauses."),
    413: ("body-too-large", "The body is larger than 256 KiB, the limit of this service."),
    416: ("range-not-satisfiable", "The file does not have these bytes; Content-Range gives its length."),
}

_PARAMETER_CODES: Final = {**PROBLEM_CODES, "missing": "missing-parameter"}

_log = structlog.get_logger("gantry.api")


def status_of(error: Exception) -> int:
    """Return the HTTP status of an error; 500 for a class that the table does not have."""
    return next((STATUS[cls] for cls in type(error).__mro__ if cls in STATUS), 500)


def install(app: FastAPI) -> None:
    """Make `app` respond to every error with a problem."""
    for cls in (GantryError, InvalidRequestError, SpecError):
        app.add_exception_handler(cls, _handle_domain_error)
    app.add_exception_handler(HTTPException, _handle_framework_error)
    app.add_exception_handler(RequestValidationError, _handle_parameter_errors)
    app.add_exception_handler(Exception, _handle_unexpected_error)


def problem(
    path: str, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
) -> Response:
    """Return a problem response; `members` are RFC 9457 extension members."""
    body = problem_body(path, status, code, detail, correlation_id.get(), **members)
    return JSONResponse(body, status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def problem_body(
    path: str, status: int, code: str, detail: str, request_id: str | None, **members: Any
) -> dict[str, Any]:
    """Return the body of a problem (RFC 9457)."""
    return {
        "type": f"urn:gantry:problem:{code}",
        "title": code.replace("-", " ").capitalize(),
        "status": status,
        "detail": detail,
        "instance": path,
        "code": code,
        "request_id": request_id,
        **members,
    }


def framework_problem(path: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Return the problem for a status that the framework or a library has chosen."""
    phrase = HTTPStatus(status).phrase
    code, detail = FRAMEWORK_CODES.get(status, (phrase.lower().replace(" ", "-"), f"{phrase}."))
    return problem(path, status, code, detail, headers=headers)


async def _handle_domain_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GantryError | InvalidRequestError | SpecError)
    status, members = status_of(error), _members(error)
    headers = _headers(error)
    if status == 422:
        members["errors"] = [p.model_dump() for p in error.problems]  # type: ignore[union-attr]
    if status >= 500:
        level = logging.WARNING if isinstance(error, BusyError) else logging.ERROR
        _log.log(level, "request failed", code=_code(error), detail=str(error), path=request.url.path)
    return problem(request.url.path, status, _code(error), _detail(error), headers=headers, **members)


def _headers(error: Exception) -> dict[str, str]:
    match error:
        case UnavailableError() | QuotaExceededError():
            return {"Retry-After": str(error.retry_after)}
        case RateLimitedError():  # draft-ietf-httpapi-ratelimit-headers-10
            remaining = f'"{error.name}";r=0;t={error.retry_after}'
            return {"Retry-After": str(error.retry_after), "RateLimit-Policy": error.policy, "RateLimit": remaining}
        case MissingKeyError():
            return {"WWW-Authenticate": "Bearer"}
        case InvalidKeyError():
            return {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        case InsufficientScopeError():
            return {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{error.scope}"'}
        case NotAcceptableError():
            return {"Vary": "Accept"}
        case _:
            return {}


def _code(error: GantryError | InvalidRequestError | SpecError) -> str:
    if isinstance(error, BadUploadError):
        return error.problems[0].code
    if not isinstance(error, SpecError):
        return error.code
    return "unknown-preset" if isinstance(error, UnknownPresetError) else "invalid-spec"


def _detail(error: Exception) -> str:
    if isinstance(error, SpecError | InvalidRequestError):
        more = len(error.problems) - _MOST_IN_DETAIL
        rest = [f"`errors` lists {more} more."] if more > 0 else []
        return " ".join([p.detail for p in error.problems[:_MOST_IN_DETAIL]] + rest)
    return str(error)


def _members(error: Exception) -> dict[str, Any]:
    match error:
        case InvalidTransitionError():
            return {"current_status": error.current_status, "allowed_actions": error.allowed_actions}
        case MalformedJsonError():
            return {"line": error.line, "column": error.column}
        case UnknownPresetError():
            return {"valid_presets": list(PRESETS)}
        case NoSuchPresetError():
            return {"valid_presets": error.valid}
        case NotReadyError():
            return {"parts": error.parts}
        case InvalidRequestError() if type(error) in _VALID_NAMES:
            return {_VALID_NAMES[type(error)]: error.valid}
        case _:
            return {}


async def _handle_framework_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods(request))
    return framework_problem(request.url.path, error.status_code, headers)


def _methods(request: Request) -> list[str]:
    """Return the methods of all routes at this address; the framework names those of the first route only."""
    path = {name: request.scope.get(name, "") for name in ("path", "root_path")}
    scope = {"type": "http", "method": "", "headers": [], **path}
    routes = [c.original_route for c in iter_route_contexts(request.app.routes) if c.methods]
    found = {
        m for route in routes if route.matches(scope)[0] is not Match.NONE for m in getattr(route, "methods", ())
    }
    # An address without a route is a static file of the documentation. HEAD works wherever GET does.
    found = found or {"GET"}
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


async def _handle_parameter_errors(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return await _handle_domain_error(request, BadParametersError(parameter_problems(error.errors())))


def parameter_problems(errors: Iterable[Mapping[str, Any]]) -> list[SpecProblem]:
    """Return the framework's validation errors of parameters as problems, with pointers and codes."""
    return [
        SpecProblem(
            pointer=pointer_to(str(part) for part in e["loc"][1:]),
            code=_PARAMETER_CODES.get(e["type"], "wrong-type"),
            detail=f"{e['loc'][-1]}: {e['msg']}.",
        )
        for e in errors
    ]


async def _handle_unexpected_error(request: Request, error: Exception) -> Response:
    _log.error("unexpected error", path=request.url.path, exc_info=error)
    detail = "The service has failed unexpectedly; its log has the details under this request_id."
    # This handler runs outside of the middleware that adds these headers to every other response.
    headers = {**api_headers(request.scope), REQUEST_ID: correlation_id.get() or ""}
    return problem(request.url.path, 500, "internal", detail, headers=headers)
