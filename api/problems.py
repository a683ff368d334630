"""Every error that leaves by HTTP, as RFC 9457 `application/problem+json`: one table, one shape.

The ready-made packages put extension members, pointers and the framework's own errors each in their own
shape, while api.md fixes one for all of them; bending one of them to it is longer than this module.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
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

from api.browser_rules import of_api
from gan.spec import PRESETS, PROBLEM_CODES, SpecError, SpecProblem, UnknownPreset
from jobs.errors import (
    ArtifactLost,
    BadUpload,
    Busy,
    Conflict,
    Fenced,
    GantryError,
    InsufficientScope,
    InvalidKey,
    InvalidRequest,
    InvalidTransition,
    MissingKey,
    NotFound,
    OneProblem,
    PresetNotFound,
    QuotaExceeded,
    QuotaUsedUp,
    RateLimited,
    Refused,
    Unavailable,
    UnknownDataset,
    UnknownLabel,
    UnknownMetric,
    UploadTooLarge,
)

MEDIA_TYPE: Final = "application/problem+json"
# An archive may have a hundred.
_MOST_IN_DETAIL: Final = 10
REQUEST_ID: Final = "X-Request-Id"


class MalformedJson(OneProblem):
    """A body that is not JSON; `line` and `column` count from 1."""

    code = "malformed-json"

    def __init__(self, what: str, line: int, column: int) -> None:
        self.line, self.column = line, column
        detail = f"The body is not JSON that can be read: {what} (line {line}, column {column})."
        super().__init__("", detail)


class UnsupportedMediaType(OneProblem):
    """A body of another type than the route reads."""

    code = "unsupported-media-type"

    def __init__(self, sent: str, wanted: str = "application/json in UTF-8") -> None:
        detail = f"The body must be sent as {wanted}; this one says {sent[:200] or 'nothing'!r}."
        super().__init__("", detail)


class NotAcceptable(OneProblem):
    """None of the types in Accept can be made here."""

    code = "not-acceptable"

    def __init__(self, accept: str, offered: Sequence[str]) -> None:
        detail = f"Nothing that Accept {accept[:200]!r} asks for is made here. Take one of: {', '.join(offered)}."
        super().__init__("", detail, valid=offered)


class BadParameters(InvalidRequest):
    """Path, query or header values that cannot be."""

    code = "invalid-parameters"


class NoSuchPreset(PresetNotFound):
    """A preset's name in an address; `valid` are those that there are."""

    def __init__(self, name: str, valid: Sequence[str]) -> None:
        super().__init__(name)
        self.valid = list(valid)

    def __str__(self) -> str:
        return f"{super().__str__()} Take one of: {', '.join(self.valid)}."


class NoPreview(Conflict):
    """There is nothing to show yet."""

    code = "no-preview"


class ExportUnavailable(GantryError):
    """This generator cannot be written in that format."""

    code = "export-unavailable"


class NotReady(Unavailable):
    """A part that the service needs is down; `parts` tells of each."""

    code = "not-ready"

    def __init__(self, parts: Mapping[str, Mapping[str, Any]]) -> None:
        self.parts = {name: dict(part) for name, part in parts.items()}
        down = [f"{name}: {part['detail']}" for name, part in parts.items() if not part["ok"]]
        super().__init__("Not ready. " + " ".join(down))


STATUS: Final[dict[type[Exception], int]] = {
    NotFound: 404,
    Conflict: 409,
    MissingKey: 401,
    InvalidKey: 401,
    InsufficientScope: 403,
    QuotaExceeded: 429,
    QuotaUsedUp: 403,
    RateLimited: 429,
    Refused: 403,
    Unavailable: 503,
    Fenced: 500,
    ArtifactLost: 500,
    ExportUnavailable: 501,
    MalformedJson: 400,
    UnsupportedMediaType: 415,
    NotAcceptable: 406,
    UploadTooLarge: 413,
    InvalidRequest: 422,
    SpecError: 422,
}
"""The nearest class in an error's family decides."""

_VALID_NAMES: Final[dict[type[Exception], str]] = {
    UnknownLabel: "valid_labels",
    UnknownDataset: "valid_datasets",
    UnknownMetric: "valid_names",
    NotAcceptable: "valid_types",
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
    for cls in (GantryError, InvalidRequest, SpecError):
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
    assert isinstance(error, GantryError | InvalidRequest | SpecError)
    status, members = status_of(error), _members(error)
    headers = _headers(error)
    if status == 422:
        members["errors"] = [p.model_dump() for p in error.problems]  # type: ignore[union-attr]
    if status >= 500:
        level = logging.WARNING if isinstance(error, Busy) else logging.ERROR
        _log.log(level, "request failed", code=_code(error), detail=str(error), path=request.url.path)
    return problem(request.url.path, status, _code(error), _detail(error), headers=headers, **members)


def _headers(error: Exception) -> dict[str, str]:
    match error:
        case Unavailable() | QuotaExceeded():
            return {"Retry-After": str(error.retry_after)}
        case RateLimited():  # draft-ietf-httpapi-ratelimit-headers-10
            left = f'"{error.name}";r=0;t={error.retry_after}'
            return {"Retry-After": str(error.retry_after), "RateLimit-Policy": error.policy, "RateLimit": left}
        case MissingKey():
            return {"WWW-Authenticate": "Bearer"}
        case InvalidKey():
            return {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        case InsufficientScope():
            return {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{error.scope}"'}
        case NotAcceptable():
            return {"Vary": "Accept"}
        case _:
            return {}


def _code(error: GantryError | InvalidRequest | SpecError) -> str:
    if isinstance(error, BadUpload):
        return error.problems[0].code
    if not isinstance(error, SpecError):
        return error.code
    return "unknown-preset" if isinstance(error, UnknownPreset) else "invalid-spec"


def _detail(error: Exception) -> str:
    if isinstance(error, SpecError | InvalidRequest):
        more = len(error.problems) - _MOST_IN_DETAIL
        rest = [f"The other {more} {'is' if more == 1 else 'are'} in `errors`."] if more > 0 else []
        return " ".join([p.detail for p in error.problems[:_MOST_IN_DETAIL]] + rest)
    return str(error)


def _members(error: Exception) -> dict[str, Any]:
    match error:
        case InvalidTransition():
            return {"current_status": error.current_status, "allowed_actions": error.allowed_actions}
        case MalformedJson():
            return {"line": error.line, "column": error.column}
        case UnknownPreset():
            return {"valid_presets": list(PRESETS)}
        case NoSuchPreset():
            return {"valid_presets": error.valid}
        case NotReady():
            return {"parts": error.parts}
        case InvalidRequest() if type(error) in _VALID_NAMES:
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
    return await _domain(request, BadParameters(parameter_problems(error.errors())))


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
