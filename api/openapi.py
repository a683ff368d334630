"""The OpenAPI document: FastAPI's own, plus the errors, headers and conditional requests of each route.

Nearly all of it follows from the route (it has a path parameter: 404; it reads `If-None-Match`: 304 and ETag), so it
is derived here. A new route needs no description of these. A route declares what does not follow, for example with
`responses=problems(409)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel

from api.auth import scope_of
from api.context import needs_services
from api.http.bodies import reads_body
from api.http.files import StoredFileResponse
from api.http.problems import MEDIA_TYPE, REQUEST_ID
from api.idempotency import KEY, REPLAYED
from api.schemas.base import Problem
from api.schemas.keys import NewKey, Quotas, Rotation
from api.schemas.webhooks import WebhookBody, WebhookChange
from gan.spec import UNSEEN, TrainSpec

Json = dict[str, Any]

_REF: Final = "#/components/schemas/{model}"
_TEXT: Final = {"type": "string"}
_PROBLEM: Final = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}}

_STATUSES: Final = {
    304: "The copy that you have is still current.",
    400: "The body is not valid JSON.",
    401: "The request has no key, or its key is not valid.",
    403: "The key does not have the required scope, or a quota is used up.",
    404: "There is nothing with this id or name.",
    406: "None of the media types in Accept is available; valid_types lists those that are.",
    409: "The state of the resource does not allow this.",
    413: "The body is too large.",
    415: "The body is not application/json in UTF-8.",
    416: "The file does not have these bytes.",
    422: "A parameter or a field is not valid; errors points at each one.",
    429: "Too many requests, or too many queued jobs; try again after Retry-After seconds.",
    500: "A stored file is lost, or the service has a bug.",
    501: "The generator cannot be exported in this format.",
    503: "A part of the service is down or busy; try again after Retry-After seconds.",
}

_HEADERS: Final[dict[str, str]] = {
    REQUEST_ID: "The id of this request: the one that you sent, or a new one. The service's log contains it too.",
    "ETag": "A strong entity tag, to send in If-None-Match.",
    "Location": "The address of what the request created or asked for.",
    "Retry-After": "The seconds to wait before the next try.",
    "Content-Range": "The range of bytes in this response, and the size of the file.",
    "Content-Location": "The address that always gives these same bytes.",
    REPLAYED: "true: an earlier request with the same Idempotency-Key was carried out, and this is its response.",
    "WWW-Authenticate": "Bearer: send a key as a bearer token.",
    "X-Checkpoint-Id": "The checkpoint that the images were drawn from.",
    "Vary": "Accept: the response depends on it.",
}


def problems(*statuses: int) -> dict[int | str, Json]:
    """Return the `responses=` of a route that may respond with these problems, besides the derived ones."""
    return {status: {"description": _STATUSES[status], "content": _PROBLEM} for status in statuses}


def body_of(model: type[BaseModel], *, required: bool = True) -> Json:
    """Return the `openapi_extra=` of a route that reads its body with `api.http.bodies`, not through FastAPI."""
    schema = {"$ref": _REF.format(model=model.__name__)}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def headers(*names: str) -> Json:
    """Return the headers of one response, as references to their descriptions."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


ANY_PROBLEM: Final[dict[int | str, Json]] = {"default": {"description": "RFC 9457 problem.", "content": _PROBLEM}}


def document(app: FastAPI) -> Json:
    """Return the OpenAPI document of `app`."""
    result = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    schemas = result["components"]["schemas"]
    for model in (TrainSpec, Problem, NewKey, Rotation, Quotas, WebhookBody, WebhookChange):
        schema = model.model_json_schema(ref_template=_REF)
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own body of a 422
        schemas.pop(name, None)
    result["components"]["headers"] = {
        name: {"description": description, "schema": _TEXT} for name, description in _HEADERS.items()
    }
    description = "An API key, such as gan_live_...; not required where the service listens on loopback only."
    result["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": description}
    }
    for route, method in _documented_routes(app):
        operation = result["paths"][route.path_format][method.lower()]
        for parameter in operation.get("parameters", ()):
            _describe_parameter(parameter)
        _describe(operation, route, method)
    return result


def _documented_routes(app: FastAPI) -> Iterator[tuple[APIRoute, str]]:
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute) and route.include_in_schema:
            yield from ((route, method) for method in route.methods or ())


def _describe(operation: Json, route: APIRoute, method: str) -> None:
    """Add the derived responses and headers to `operation`."""
    responses = operation["responses"]
    request_headers = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "header"}
    for status, response in problems(*_statuses(route, method, request_headers)).items():
        responses[str(status)] = response
    if issubclass(_response_class(route), StoredFileResponse):
        _describe_ranges(operation)
    if "if-none-match" in request_headers:
        responses["304"] = {"description": _STATUSES[304], "headers": responses["200"].get("headers", {})}
    if (scope := scope_of(route)) is not None:
        operation["security"] = [{"key": []}]
        operation["x-scope"] = scope.value
    for status, response in responses.items():
        names = _headers(operation, status, request_headers)
        response["headers"] = {**headers(*names), **response.get("headers", {})}


def _describe_parameter(parameter: Json) -> None:
    """Correct FastAPI's schema of a parameter.

    An optional parameter is omitted, and never null. The text of a query parameter has none of the characters that
    `check_parameters` refuses.
    """
    schema = parameter["schema"]
    if "anyOf" in schema:
        (not_null,) = (option for option in schema.pop("anyOf") if option != {"type": "null"})
        parameter["schema"] = schema = not_null | schema
    text = schema.get("items", schema)
    if parameter["in"] == "query" and text.get("type") == "string" and "enum" not in text:
        text.setdefault("pattern", f"^[^{UNSEEN}]*$")


def _statuses(route: APIRoute, method: str, request_headers: set[str]) -> list[int]:
    """Return the error statuses that follow from what the route reads and depends on."""
    calls, has_path_parameter = set(_calls(route.dependant)), "{" in route.path
    rules = {
        (400, 413, 415): any(reads_body(call) for call in calls),
        (401, 403, 429): scope_of(route) is not None,
        (404,): has_path_parameter,
        (406,): "accept" in request_headers,
        (409,): has_path_parameter and method != "GET",
        (422,): True,  # for an unknown query parameter
        (503,): any(needs_services(call) for call in calls),
    }
    return [status for statuses, applies in rules.items() if applies for status in statuses]


def _headers(operation: Json, status: str, request_headers: set[str]) -> Iterator[str]:
    """Yield the names of the headers of one response."""
    yield REQUEST_ID
    succeeded = status.startswith("2") or status == "304"
    if succeeded and ("if-none-match" in request_headers or _is_job(operation, status)):
        yield "ETag"
    if status in ("201", "202"):
        yield "Location"
    if status == "201" and KEY in request_headers:
        yield REPLAYED
    if status in ("429", "503"):
        yield "Retry-After"
    if status == "401":
        yield "WWW-Authenticate"
    if status in ("206", "416"):
        yield "Content-Range"
    if "accept" in request_headers and (succeeded or status == "406"):
        yield "Vary"


def _is_job(operation: Json, status: str) -> bool:
    content = operation["responses"][status].get("content", {}).get("application/json", {})
    is_job_view: bool = content.get("schema", {}).get("$ref") == _REF.format(model="JobView")
    return is_job_view and "jobs" in operation.get("tags", ())


def _describe_ranges(operation: Json) -> None:
    responses = operation["responses"]
    responses["206"] = {"description": "The bytes that Range asks for.", "content": responses["200"]["content"]}
    responses.update({str(status): response for status, response in problems(416).items()})
    for name, description in (
        ("range", "The bytes to send, such as bytes=0-1023."),
        ("if-range", "An ETag: if the file has another one, Range is ignored."),
    ):
        parameter = {"name": name, "in": "header", "required": False, "schema": _TEXT, "description": description}
        operation["parameters"].append(parameter)


def _response_class(route: APIRoute) -> type:
    found = getattr(route.response_class, "value", route.response_class)
    assert isinstance(found, type)
    return found


def _calls(dependant: Dependant) -> Iterator[object]:
    """Yield the callables of all dependencies, also the indirect ones."""
    for inner in dependant.dependencies:
        yield inner.call
        yield from _calls(inner)
