"""Request bodies, parsed as strict JSON, so that every JSON parser would read the same values.

Python's parser accepts NaN and duplicate keys. RFC 8259 has no NaN, and one of two equal keys would be lost silently.
"""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Mapping
from email.message import Message
from json import JSONDecodeError
from json.decoder import JSONObject  # type: ignore[attr-defined]
from json.scanner import py_make_scanner  # type: ignore[attr-defined]
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError

from api.http.errors import MalformedJsonError, UnsupportedMediaTypeError
from gan.spec import SpecError, SpecProblem, first_problems, pointer_to, problem_of
from jobs.errors import InvalidRequestError

Model = TypeVar("Model", bound=BaseModel)

_STRING_OR_CONSTANT: Final = re.compile(r'"(?:[^"\\]|\\.)*"|(?P<constant>NaN|-?Infinity)', re.DOTALL)
_BRACKET: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
_MOST_LEVELS: Final = 20
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


class _StrictJsonError(ValueError):
    """JSON that Python accepts and RFC 8259 does not."""


class _DuplicateKeyError(_StrictJsonError):
    def __init__(self, key: str, start: int) -> None:
        super().__init__(f"the key {key[:200]!r} appears twice in the object that starts here")
        self.start = start


class _StrictDecoder(json.JSONDecoder):
    """A decoder that refuses duplicate keys and constants such as NaN.

    It uses the scanner that is written in Python: the C scanner does not report where an object starts.
    """

    def __init__(self) -> None:
        super().__init__(parse_constant=_refuse_constant)
        self.parse_object = _parse_object
        self.scan_once = py_make_scanner(self)


def _refuse_constant(name: str) -> Any:
    raise _StrictJsonError(f"{name} is not a JSON value")


def _parse_object(s_and_end: tuple[str, int], *args: Any) -> tuple[Any, int]:
    strict, scan_once, _, _, memo = args
    pairs, end = JSONObject(s_and_end, strict, scan_once, None, list, memo)
    result = dict(pairs)
    if len(result) < len(pairs):
        duplicate, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise _DuplicateKeyError(duplicate, s_and_end[1] - 1)
    return result, end


def parse(data: bytes) -> Any:
    """Return the JSON value in `data`. Raises `MalformedJsonError` with line and column.

    A byte order mark before it is skipped, as RFC 8259, section 8.1, allows: PowerShell and some editors write one.
    """
    if data.startswith(_UTF_16):
        raise MalformedJsonError("it is UTF-16, but JSON must be UTF-8", 1, 1)
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        raise _malformed("it is not UTF-8", before, len(before)) from None
    _refuse_depth(text)
    try:
        value = _StrictDecoder().decode(text)
    except JSONDecodeError as error:
        raise MalformedJsonError(error.msg[:1].lower() + error.msg[1:], error.lineno, error.colno) from None
    except _DuplicateKeyError as error:
        raise _malformed(str(error), text, error.start) from None
    except _StrictJsonError as error:
        raise _malformed(str(error), text, _constant_at(text)) from None
    except ValueError:  # int() refuses numbers of thousands of digits
        raise _malformed("it contains a number with too many digits", text, 0) from None
    _refuse_lone_surrogates(value, text)
    return value


def _refuse_depth(text: str) -> None:
    depth = 0
    for found in _BRACKET.finditer(text):
        depth += 1 if found[0] in "[{" else -1 if found[0] in "]}" else 0
        if depth > _MOST_LEVELS:
            raise _malformed(f"it is nested more than {_MOST_LEVELS} levels deep", text, found.start())


def _refuse_lone_surrogates(value: Any, text: str) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        found = _SURROGATE.search(text)
        position = found.start() if found else 0
        raise _malformed("a string contains half of a surrogate pair", text, position) from None


def _constant_at(text: str) -> int:
    return next((m.start() for m in _STRING_OR_CONSTANT.finditer(text) if m["constant"]), 0)


def _malformed(reason: str, text: str, position: int) -> MalformedJsonError:
    line_start = text.rfind("\n", 0, position) + 1
    return MalformedJsonError(reason, text.count("\n", 0, position) + 1, position - line_start + 1)


async def _json_object(request: Request) -> dict[str, Any]:
    """Return the body as a JSON object. Raises `UnsupportedMediaTypeError`, `MalformedJsonError`, `SpecError`."""
    data = await request.body()
    content_type = request.headers.get("content-type", "")
    if (data or content_type) and not _is_json(content_type):
        raise UnsupportedMediaTypeError(content_type)
    body = parse(data)
    if not isinstance(body, dict):
        detail = f"The body must be a JSON object, not {_kind(body)}."
        raise SpecError([SpecProblem(pointer="", code="wrong-type", detail=detail)])
    return body


def _is_json(content_type: str) -> bool:
    """Return whether it is application/json in UTF-8, the only encoding that RFC 8259 allows between systems."""
    message = Message()
    message["Content-Type"] = content_type
    charset = message.get_param("charset", "utf-8")
    in_utf8 = isinstance(charset, str) and charset.lower() in ("utf-8", "utf8")
    return content_type.split(";")[0].strip().lower() == "application/json" and in_utf8


def _kind(value: Any) -> str:
    """Return the JSON name of a value that is not an object."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return "an array" if isinstance(value, list) else "a string" if isinstance(value, str) else "a number"


async def _no_body(request: Request) -> None:
    """Refuse a body, except an empty object. Raises what `_json_object` raises."""
    if not await request.body():
        return
    body = await _json_object(request)
    if body:
        detail = "This action takes no fields."
        raise SpecError([SpecProblem(pointer=pointer_to([key]), code="unknown-field", detail=detail) for key in body])


async def _optional_json_object(request: Request) -> dict[str, Any]:
    """Return the body, or an empty object if there is none. Raises what `_json_object` raises."""
    return await _json_object(request) if await request.body() else {}


def read_as(
    model: type[Model], body: Mapping[str, Any], refusal: type[InvalidRequestError] = InvalidRequestError
) -> Model:
    """Return the body as `model`. Raises `refusal`, with a pointer to every field that is wrong."""
    try:
        # As JSON text: a strict model takes the values of an enum from JSON only.
        return model.model_validate_json(json.dumps(body))
    except ValidationError as error:
        found, fields = error.errors(), list(model.model_fields)
        raise refusal(first_problems((problem_of(each, fields) for each in found), len(found))) from None


def reads_body(dependency: object) -> bool:
    """Return whether a dependency of a route reads its body."""
    return dependency in (_json_object, _optional_json_object, _no_body)


JsonObject = Annotated[dict[str, Any], Depends(_json_object)]
OptionalJsonObject = Annotated[dict[str, Any], Depends(_optional_json_object)]
NoBody = Depends(_no_body)
