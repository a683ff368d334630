"""The OpenAPI document: FastAPI's own, plus the errors, headers, examples and conditional requests of each route.

Nearly all of it follows from the route (it has a path parameter: 404; it reads `If-None-Match`: 304 and ETag), so it
is derived here. A new route needs no description of these. A route declares what does not follow, for example with
`responses=problems(409)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts

from api.auth import scope_of
from api.context import needs_services
from api.http.bodies import reads_body
from api.http.files import StoredFileResponse
from api.http.problems import REQUEST_ID
from api.idempotency import KEY, REPLAYED
from api.openapi.examples import problem_examples
from api.openapi.illustrate import illustrate
from api.openapi.responses import BYTES, HEADERS, REF, STATUSES, TEXT, Json, headers, problems
from api.openapi.schemas import (
    add_requests,
    allow_some_fields,
    remove_defaults,
    tell_default,
    with_references,
)
from api.openapi.webhooks import webhooks
from api.schemas.base import Problem
from gan.spec import UNSEEN

ABOUT: Final = {
    "jobs": "Submit training jobs, follow them, and control them.",
    "progress": "What a job reports while it trains: curves, events, previews, evaluations.",
    "checkpoints": "The saved states of a job: list, save now, download.",
    "samples": "Images from the trained generator, by class label.",
    "datasets": "What jobs train on: the data sets of the service, and your own uploads.",
    "presets": "Named specs to start from, each with its paper.",
    "schemas": "JSON Schemas of request bodies, with every default.",
    "webhooks": "Addresses of yours that the service notifies, and the deliveries to them.",
    "workers": "The processes that train.",
    "keys": "API keys, tenants and their quotas. For administrators.",
    "audit": "Who changed what, and when. For administrators.",
    "health": "Whether the service works, and its metrics.",
}
"""Every tag, in order, with its description."""

_DESCRIPTION: Final = """\
Submit a job with `POST /v1/jobs`, follow it with `GET /v1/jobs/{job_id}`, and draw from its generator with
`GET /v1/jobs/{job_id}/samples`.

- An operation with several media types takes its choice from `Accept`; without it, the first one is sent.
- Every error is an RFC 9457 problem with a stable `code`.
- Responses of 1 KiB or more of JSON or text are compressed if `Accept-Encoding` allows gzip.
- A field or a parameter that you omit has the default that its description names. The schemas of requests state no
  `default`, so that generated clients send only what you set.
"""
_SERVERS: Final = (
    {"url": "/", "description": "The service that gave you this document."},
    {"url": "http://127.0.0.1:8000", "description": "`gantry up` on this machine."},
)


def document(app: FastAPI) -> Json:
    """Return the OpenAPI document of `app`."""
    result = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=_DESCRIPTION,
        routes=app.routes,
        tags=[{"name": name, "description": about} for name, about in ABOUT.items()],
        servers=[*_SERVERS],
        contact={"name": "The operator of this service"},
        license_info={"name": "MIT", "identifier": "MIT"},
        separate_input_output_schemas=True,
    )
    result["webhooks"] = webhooks()
    components = result["components"]
    schemas = components["schemas"]
    problem = Problem.model_json_schema(ref_template=REF)
    schemas.update(problem.pop("$defs"), Problem=problem)
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own body of a 422
        schemas.pop(name, None)
    requests = add_requests(schemas)
    components["headers"] = {
        name: {"description": about, "schema": TEXT, "example": example} for name, (about, example) in HEADERS.items()
    }
    description = "An API key, such as gan_live_...; not required where the service listens on loopback only."
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": description}}
    for route, method in _documented_routes(app):
        operation = result["paths"][route.path_format][method.lower()]
        _describe(operation, route, method, requests)
        if any(parameter["name"] == "fields" for parameter in operation["parameters"]):
            page = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
            allow_some_fields(schemas[page.rpartition("/")[2]], schemas)
    for schema in schemas.values():
        remove_defaults(schema)
    components["examples"] = {**problem_examples(), **illustrate(result)}
    return result


def served_at(document: Json, root_path: str) -> Json:
    """Return the document for readers behind a proxy that serves the service under `root_path`."""
    first, *others = document["servers"]
    return {**document, "servers": [{**first, "url": root_path or first["url"]}, *others]}


def _documented_routes(app: FastAPI) -> Iterator[tuple[APIRoute, str]]:
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute) and route.include_in_schema:
            yield from ((route, method) for method in route.methods or ())


def _describe(operation: Json, route: APIRoute, method: str, requests: Mapping[str, str]) -> None:
    """Add what follows from the route to `operation`: name, parameters, responses, headers, scope."""
    operation["operationId"] = route.name
    parameters = operation.setdefault("parameters", [])
    for parameter in parameters:
        _describe_parameter(parameter)
    if "requestBody" in operation:
        operation["requestBody"] = with_references(operation["requestBody"], requests)
    responses = operation["responses"]
    request_headers = {field.alias for field in _header_fields(route.dependant)}
    for status, response in problems(*_statuses(route, method, request_headers)).items():
        responses[str(status)] = response
    _order_media_types(responses, route)
    if issubclass(_response_class(route), StoredFileResponse):
        _describe_ranges(operation)
    if "if-none-match" in request_headers:
        responses["304"] = {"description": STATUSES[304], "headers": responses["200"].get("headers", {})}
    scope = scope_of(route)
    operation["security"] = [] if scope is None else [{"key": []}]
    if scope is not None:
        operation["x-scope"] = scope.value
    for status, response in responses.items():
        names = _headers(operation, status, request_headers)
        response["headers"] = {**headers(*names), **response.get("headers", {})}


def _describe_parameter(parameter: Json) -> None:
    """Correct FastAPI's schema of a parameter.

    An optional parameter is omitted, and never null. The text of a query parameter has none of the characters that
    `check_parameters` refuses. A default is told in words, as for the fields of a body.
    """
    schema = parameter["schema"]
    if "anyOf" in schema:
        (not_null,) = (option for option in schema.pop("anyOf") if option != {"type": "null"})
        parameter["schema"] = schema = not_null | schema
    schema.pop("description", None)  # the parameter has it
    if "default" in schema:
        tell_default(parameter, schema.pop("default"))
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
    negotiated = "accept" in request_headers and (succeeded or status == "406")
    if negotiated or _may_be_compressed(operation["responses"][status]):
        yield "Vary"


def _may_be_compressed(response: Json) -> bool:
    return any(content.get("schema") != BYTES for content in response.get("content", {}).values())


def _is_job(operation: Json, status: str) -> bool:
    content = operation["responses"][status].get("content", {}).get("application/json", {})
    is_job_view: bool = content.get("schema", {}).get("$ref") == REF.format(model="JobView")
    return is_job_view and "jobs" in operation.get("tags", ())


def _order_media_types(responses: Json, route: APIRoute) -> None:
    """Put the media types in the route's own order, if it names all of them; the first is sent without `Accept`."""
    for status, declared in route.responses.items():
        names, content = declared.get("content", {}), responses.get(str(status), {}).get("content", {})
        if names.keys() == content.keys():
            responses[str(status)]["content"] = {name: content[name] for name in names}


def _describe_ranges(operation: Json) -> None:
    responses = operation["responses"]
    responses["206"] = {"description": "The bytes that Range asks for.", "content": responses["200"]["content"]}
    responses.update({str(status): response for status, response in problems(416).items()})
    for name, description in (
        ("range", "The bytes to send, such as bytes=0-1023."),
        ("if-range", "An ETag: if the file has another one, Range is ignored."),
    ):
        parameter = {"name": name, "in": "header", "required": False, "schema": TEXT, "description": description}
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


def _header_fields(dependant: Dependant) -> Iterator:  # type: ignore[type-arg]
    """Yield the headers that the route and its dependencies read."""
    yield from dependant.header_params
    for inner in dependant.dependencies:
        yield from _header_fields(inner)
