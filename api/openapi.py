"""What the OpenAPI document says of a route's errors, headers and conditions.

Nearly all of it follows from the route itself (a path parameter may name nothing: 404; `If-None-Match` is read:
304 and ETag), so it is derived here and a new route is described without a word. What does not follow, a route
says itself with `responses=problems(409)`.
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
from api.schemas import NewKey, Problem, Quotas, Rotation, WebhookBody, WebhookChange
from gan.spec import UNSEEN, TrainSpec

Json = dict[str, Any]

_REF: Final = "#/components/schemas/{model}"
_TEXT: Final = {"type": "string"}
_PROBLEM: Final = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}}

_WORDS: Final = {
    304: "What you hold is still current.",
    400: "The body is not JSON.",
    401: "No key was sent, or one that opens nothing.",
    403: "The key has not the scope that this needs, or a quota is used up.",
    404: "Nothing here has that id or name.",
    406: "Nothing that Accept asks for is made here; valid_types lists what is.",
    409: "What it is about is not in a state for this.",
    413: "The body is too large.",
    415: "The body is not application/json in UTF-8.",
    416: "The file has no such bytes.",
    422: "A parameter or field cannot be; errors points at each.",
    429: "Too many requests, or too many jobs that wait; go on after Retry-After.",
    500: "A file that the record names is lost, or the service has a bug.",
    501: "This generator cannot be written in that format.",
    503: "A part of the service is down or busy; try again after Retry-After.",
}

_HEADERS: Final[dict[str, str]] = {
    REQUEST_ID: "The id of this request, yours if you sent one; the log has it too.",
    "ETag": "Strong; for If-None-Match.",
    "Location": "Where what was asked for is.",
    "Retry-After": "Seconds that are worth waiting.",
    "Content-Range": "Which bytes of how many.",
    "Content-Location": "The address that gives these very bytes for ever.",
    REPLAYED: "true: this was done before, for the same Idempotency-Key; this is what was answered then.",
    "WWW-Authenticate": "Bearer: how a key is sent.",
    "X-Checkpoint-Id": "The checkpoint that was drawn from.",
    "Vary": "Accept: the answer depends on it.",
}


def problems(*statuses: int) -> dict[int | str, Json]:
    """The `responses=` of a route that answers with these problems, beside those that are derived."""
    return {status: {"description": _WORDS[status], "content": _PROBLEM} for status in statuses}


def body_of(model: type[BaseModel], *, required: bool = True) -> Json:
    """The `openapi_extra=` of a route that reads its body itself, as it must refuse what JSON readers let through."""
    schema = {"$ref": _REF.format(model=model.__name__)}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def headers(*names: str) -> Json:
    """The headers of one response, by name."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


ANY_PROBLEM: Final[dict[int | str, Json]] = {"default": {"description": "RFC 9457 problem.", "content": _PROBLEM}}


def document(app: FastAPI) -> Json:
    """FastAPI's document, with what it does not know of."""
    made = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    known = made["components"]["schemas"]
    for model in (TrainSpec, Problem, NewKey, Rotation, Quotas, WebhookBody, WebhookChange):
        schema = model.model_json_schema(ref_template=_REF)
        known.update(schema.pop("$defs", {}))
        known[model.__name__] = schema
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own form of a 422
        known.pop(name, None)
    made["components"]["headers"] = {
        name: {"description": words, "schema": _TEXT} for name, words in _HEADERS.items()
    }
    words = "A key, such as gan_live_...; not asked for where the service listens on loopback alone."
    made["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": words}}
    for route, method in _shown(app):
        for parameter in made["paths"][route.path_format][method.lower()].get("parameters", ()):
            _describe_parameter(parameter)
        _describe(made["paths"][route.path_format][method.lower()], route, method)
    return made


def _shown(app: FastAPI) -> Iterator[tuple[APIRoute, str]]:
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute) and route.include_in_schema:
            yield from ((route, method) for method in route.methods or ())


def _describe(operation: Json, route: APIRoute, method: str) -> None:
    answers = operation["responses"]
    read = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "header"}
    for status, answer in problems(*_statuses(route, method, read)).items():
        answers[str(status)] = answer
    if issubclass(_class_of(route), StoredFileResponse):
        _describe_ranges(operation)
    if "if-none-match" in read:
        answers["304"] = {"description": _WORDS[304], "headers": answers["200"].get("headers", {})}
    if (scope := scope_of(route)) is not None:
        operation["security"] = [{"key": []}]
        operation["x-scope"] = scope.value
    for status, answer in answers.items():
        answer["headers"] = {**headers(*_headers(operation, status, read)), **answer.get("headers", {})}


def _describe_parameter(parameter: Json) -> None:
    """One that is optional is left out, and never null; and no text in a query holds what `checked` refuses."""
    schema = parameter["schema"]
    if "anyOf" in schema:
        (real,) = (one for one in schema.pop("anyOf") if one != {"type": "null"})
        parameter["schema"] = schema = real | schema
    text = schema.get("items", schema)
    if parameter["in"] == "query" and text.get("type") == "string" and "enum" not in text:
        text.setdefault("pattern", f"^[^{UNSEEN}]*$")


def _statuses(route: APIRoute, method: str, read: set[str]) -> list[int]:
    calls, named = set(_calls(route.dependant)), "{" in route.path
    rules = {
        (400, 413, 415): any(reads_body(call) for call in calls),
        (401, 403, 429): scope_of(route) is not None,
        (404,): named,
        (406,): "accept" in read,
        (409,): named and method != "GET",
        (422,): True,  # of a query parameter that the route does not know
        (503,): any(needs_services(call) for call in calls),
    }
    return [status for statuses, holds in rules.items() if holds for status in statuses]


def _headers(operation: Json, status: str, read: set[str]) -> Iterator[str]:
    yield REQUEST_ID
    made = status.startswith("2") or status == "304"
    if made and ("if-none-match" in read or _is_job(operation, status)):
        yield "ETag"
    if status in ("201", "202"):
        yield "Location"
    if status == "201" and KEY in read:
        yield REPLAYED
    if status in ("429", "503"):
        yield "Retry-After"
    if status == "401":
        yield "WWW-Authenticate"
    if status in ("206", "416"):
        yield "Content-Range"
    if "accept" in read and (made or status == "406"):
        yield "Vary"


def _is_job(operation: Json, status: str) -> bool:
    content = operation["responses"][status].get("content", {}).get("application/json", {})
    whole = content.get("schema", {}).get("$ref") == _REF.format(model="JobView")
    return whole and "jobs" in operation.get("tags", ())


def _describe_ranges(operation: Json) -> None:
    answers = operation["responses"]
    answers["206"] = {"description": "The bytes that Range asks for.", "content": answers["200"]["content"]}
    answers.update({str(status): answer for status, answer in problems(416).items()})
    for name, words in (("range", "Such as bytes=0-1023."), ("if-range", "An ETag: Range holds only for that.")):
        parameter = {"name": name, "in": "header", "required": False, "schema": _TEXT, "description": words}
        operation["parameters"].append(parameter)


def _class_of(route: APIRoute) -> type:
    made = getattr(route.response_class, "value", route.response_class)
    assert isinstance(made, type)
    return made


def _calls(dependant: Dependant) -> Iterator[object]:
    for inner in dependant.dependencies:
        yield inner.call
        yield from _calls(inner)
