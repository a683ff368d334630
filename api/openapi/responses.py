"""What routes say of their bodies and responses: problems, headers, files."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

from api.http.problems import MEDIA_TYPE, REQUEST_ID
from api.idempotency import REPLAYED

Json = dict[str, Any]

REF: Final = "#/components/schemas/{model}"
TEXT: Final = {"type": "string"}
BYTES: Final = {"type": "string", "format": "binary"}

STATUSES: Final = {
    204: "Nothing follows.",
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

HEADERS: Final[dict[str, tuple[str, str]]] = {
    REQUEST_ID: (
        "The id of this request: the one that you sent, or a new one. The service's log contains it too.",
        "01JD2M9Z8V3H4W5X6Y7Z8A9B0C",
    ),
    "ETag": ("A strong entity tag, to send in If-None-Match.", '"6f1c2a70d3b94e58a1f0c7d2e9b8a4c3f5d6e7a8"'),
    "Location": ("The address of what the request created or asked for.", "/v1/jobs/job_01JD2M9Z8V3H4W5X6Y7Z8A9B0C"),
    "Retry-After": ("The seconds to wait before the next try.", "5"),
    "Content-Range": ("The range of bytes in this response, and the size of the file.", "bytes 0-1023/2411724"),
    "Content-Location": (
        "The address that always gives these same bytes.",
        "/v1/jobs/job_01JD2M9Z8V3H4W5X6Y7Z8A9B0C/samples?n=8&checkpoint=ckpt_01JD2MB3Q4R5S6T7V8W9X0Y1Z2",
    ),
    REPLAYED: (
        "true: an earlier request with the same Idempotency-Key was carried out, and this is its response.",
        "true",
    ),
    "WWW-Authenticate": ("Bearer: send a key as a bearer token.", "Bearer"),
    "X-Checkpoint-Id": ("The checkpoint that the images were drawn from.", "ckpt_01JD2MB3Q4R5S6T7V8W9X0Y1Z2"),
    "Vary": ("The headers of the request that the response depends on.", "Accept, Accept-Encoding"),
}
"""The description and an example of every header of a response."""


def problem_content(status: int | None = None) -> Json:
    """Return the content of a problem response, with the example of its status if there is one."""
    examples = {"examples": {str(status): {"$ref": f"#/components/examples/{status}"}}} if status else {}
    return {MEDIA_TYPE: {"schema": {"$ref": REF.format(model="Problem")}, **examples}}


def problems(*statuses: int) -> dict[int | str, Json]:
    """Return the `responses=` of a route that may respond with these problems, besides the derived ones."""
    return {status: {"description": STATUSES[status], "content": problem_content(status)} for status in statuses}


def files(*media_types: str) -> Json:
    """Return the content of a response that is a file of one of these media types: text, or else binary."""
    return {media: {"schema": TEXT if media.startswith("text/") else BYTES} for media in media_types}


def body_of(model: type[BaseModel], *, required: bool = True) -> Json:
    """Return the `openapi_extra=` of a route that reads its body with `api.http.bodies`, not through FastAPI."""
    schema = {"$ref": REF.format(model=model.__name__)}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def headers(*names: str) -> Json:
    """Return the headers of one response, as references to their descriptions."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


ANY_PROBLEM: Final[dict[int | str, Json]] = {
    "default": {"description": "RFC 9457 problem.", "content": problem_content(500)}
}
