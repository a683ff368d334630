"""Every error that leaves by HTTP, as RFC 9457 `application/problem+json`: one table, one shape.

The ready-made packages put extension members, pointers and the framework's own errors each in their own
shape, while api.md fixes one for all of them; bending one of them to it is longer than this module.
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
    ExportUnavailableError,
    MalformedJsonError,
    NoSuchPresetError,
    NotAcceptableError,
    NotReadyError,
    UnsupportedMediaTypeError,
)
from api.http.security_headers import of_api
from gan.spec import PRESETS, PROBLEM_CODES, SpecError, SpecProblem, UnknownPresetError
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
# An archive may have a hundred.
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
    ExportUnavailableError: 501,
    MalformedJsonError: 400,
    UnsupportedMediaTypeError: 415,
    NotAcceptableError: 406,
    UploadTooLargeError: 413,
    InvalidRequestError: 422,
    SpecError: 422,
}
"""The nearest class in an error's family decides."""

_VALID_NAMES: Final[dict[type[Exception], str]] = {
    UnknownLabelError: "valid_labels",
    UnknownDatasetError: "valid_datasets",
    UnknownMetricError: "valid_names",
    NotAcceptableError: "valid_types",
}

_FRAMEWORK_CODES: Final = {
    404: ("not-found", "There is nothing at this address; /openapi.json lists what there is."),
    405: ("method-not-allowed", "This address does not take this method; see the Allow header."),
    408: ("request-timeout", "The body did not come in the time that it gets; send it in one go."),
    413: ("body-too-large", "The body is larger than 256 KiB, which is the most that is read here."),
    416: ("range-not-satisfiable", "The file has no such bytes; Content-Range tells its length."),
}

_PARAMETER_CODES: Final = {**PROBLEM_CODES, "missing": "missing-parameter"}

_log = structlog.get_logger("gantry.api")


def status_of(error: Exception) -> int:
    """The HTTP status of a domain error; 500 for one that the table forgot."""
    return next((STATUS[cls] for cls in type(error).__mro__ if cls in STATUS), 500)


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem."""
    for cls in (GantryError, InvalidRequestError, SpecError):
        app.add_exception_handler(cls, _domain)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(RequestValidationError, _parameters)
    app.add_exception_handler(Exception, _unexpected)


def problem(
    path: str, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
) -> Response:
    """One problem response; `members` are RFC 9457 extension members."""
    body = {
        "type": f"urn:gantry:problem:{code}",
        "title": code.replace("-", " ").capitalize(),
        "status": status,
        "detail": detail,
        "instance": path,
        "code": code,
        "request_id": correlation_id.get(),
        **members,
    }
    return JSONResponse(body, status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def framework_problem(path: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """The problem for a status that the framework or a library chose."""
    phrase = HTTPStatus(status).phrase
    code, detail = _FRAMEWORK_CODES.get(status, (phrase.lower().replace(" ", "-"), f"{phrase}."))
    return problem(path, status, code, detail, headers=headers)


async def _domain(request: Request, error: Exception) -> Response:
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
            left = f'"{error.name}";r=0;t={error.retry_after}'
            return {"Retry-After": str(error.retry_after), "RateLimit-Policy": error.policy, "RateLimit": left}
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
        rest = [f"The other {more} {'is' if more == 1 else 'are'} in `errors`."] if more > 0 else []
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


async def _framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods(request))
    return framework_problem(request.url.path, error.status_code, headers)


def _methods(request: Request) -> list[str]:
    """What the address takes: of all its routes, where the framework names the first one's alone."""
    place = {name: request.scope.get(name, "") for name in ("path", "root_path")}
    here = {"type": "http", "method": "", "headers": [], **place}
    routes = [c.original_route for c in iter_route_contexts(request.app.routes) if c.methods]
    found = {m for route in routes if route.matches(here)[0] is not Match.NONE for m in getattr(route, "methods", ())}
    # What has no route of its own is a file of the documentation. HEAD is wherever GET is.
    found = found or {"GET"}
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


async def _parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return await _domain(request, BadParametersError(parameter_problems(error.errors())))


def parameter_problems(errors: Iterable[Mapping[str, Any]]) -> list[SpecProblem]:
    """The framework's complaints about parameters, in the words that every field gets."""
    return [
        SpecProblem(
            pointer="".join(f"/{part}" for part in e["loc"][1:]),
            code=_PARAMETER_CODES.get(e["type"], "wrong-type"),
            detail=f"{e['loc'][-1]}: {e['msg']}.",
        )
        for e in errors
    ]


async def _unexpected(request: Request, error: Exception) -> Response:
    _log.error("unexpected error", path=request.url.path, exc_info=error)
    detail = "Something went wrong inside the service; its log tells more under this request_id."
    # This handler stands outside the middleware that sets these on every other answer.
    headers = {**of_api(request.scope), REQUEST_ID: correlation_id.get() or ""}
    return problem(request.url.path, 500, "internal", detail, headers=headers)
