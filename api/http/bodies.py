"""Request bodies: JSON read strictly, so that what one reader takes another does not read differently.

Python's reader lets NaN and doubled keys through; RFC 8259 knows no NaN, and of two equal keys one would be
ignored in silence.
"""

from __future__ import annotations

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
_DEEPEST: Final = 20
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


class _JsonRefusedError(ValueError):
    """JSON as Python reads it, but not as RFC 8259 means it."""


class _DuplicateKeyError(_JsonRefusedError):
    def __init__(self, key: str, start: int) -> None:
        super().__init__(f"the key {key[:200]!r} is there twice in the object that starts here")
        self.start = start


class _Strict(json.JSONDecoder):
    """Refuses doubled keys and constants. Python's own scanner, as the C one does not tell where an object starts."""

    def __init__(self) -> None:
        super().__init__(parse_constant=_no_constant)
        self.parse_object = _object
        self.scan_once = py_make_scanner(self)


def _no_constant(name: str) -> Any:
    raise _JsonRefusedError(f"{name} is not a JSON value")


def _object(s_and_end: tuple[str, int], *args: Any) -> tuple[Any, int]:
    strict, scan_once, _, _, memo = args
    pairs, end = JSONObject(s_and_end, strict, scan_once, None, list, memo)
    found = dict(pairs)
    if len(found) < len(pairs):
        doubled, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise _DuplicateKeyError(doubled, s_and_end[1] - 1)
    return found, end


def parse(data: bytes) -> Any:
    """The JSON value in `data`. Raises `MalformedJsonError` with line and column."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        raise _malformed("it is not UTF-8", before, len(before)) from None
    _refuse_depth(text)
    try:
        value = _Strict().decode(text)
    except JSONDecodeError as error:
        raise MalformedJsonError(error.msg[:1].lower() + error.msg[1:], error.lineno, error.colno) from None
    except _DuplicateKeyError as error:
        raise _malformed(str(error), text, error.start) from None
    except _JsonRefusedError as error:
        raise _malformed(str(error), text, _constant_at(text)) from None
    except ValueError:  # int() refuses numbers of thousands of digits
        raise _malformed("a number in it is too long", text, 0) from None
    _refuse_half_characters(value, text)
    return value


def _refuse_depth(text: str) -> None:
    depth = 0
    for found in _BRACKET.finditer(text):
        depth += 1 if found[0] in "[{" else -1 if found[0] in "]}" else 0
        if depth > _DEEPEST:
            raise _malformed(f"it is nested more than {_DEEPEST} deep", text, found.start())


def _refuse_half_characters(value: Any, text: str) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        found = _SURROGATE.search(text)
        raise _malformed(
            "half a surrogate pair stands alone in a string", text, found.start() if found else 0
        ) from None


def _constant_at(text: str) -> int:
    return next((m.start() for m in _STRING_OR_CONSTANT.finditer(text) if m["constant"]), 0)


def _malformed(what: str, text: str, position: int) -> MalformedJsonError:
    line_start = text.rfind("\n", 0, position) + 1
    return MalformedJsonError(what, text.count("\n", 0, position) + 1, position - line_start + 1)


async def _json_object(request: Request) -> dict[str, Any]:
    """The request's body as a JSON object. Raises `UnsupportedMediaTypeError`, `MalformedJsonError`, `SpecError`."""
    data = await request.body()
    sent = request.headers.get("content-type", "")
    if (data or sent) and not _is_json(sent):
        raise UnsupportedMediaTypeError(sent)
    body = parse(data)
    if not isinstance(body, dict):
        detail = f"The body must be an object, not {_kind(body)}."
        raise SpecError([SpecProblem(pointer="", code="wrong-type", detail=detail)])
    return body


def _is_json(content_type: str) -> bool:
    """application/json, and in UTF-8, which is all that RFC 8259 lets systems send each other."""
    message = Message()
    message["Content-Type"] = content_type
    charset = message.get_param("charset", "utf-8")
    in_utf8 = isinstance(charset, str) and charset.lower() in ("utf-8", "utf8")
    return content_type.split(";")[0].strip().lower() == "application/json" and in_utf8


def _kind(value: Any) -> str:
    """What JSON calls a value that is no object."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return "an array" if isinstance(value, list) else "a string" if isinstance(value, str) else "a number"


async def _nothing(request: Request) -> None:
    """An action takes no body; an empty object will do. Raises as `_json_object` does."""
    if not await request.body():
        return
    body = await _json_object(request)
    if body:
        detail = "This action takes no fields."
        raise SpecError([SpecProblem(pointer=pointer_to([key]), code="unknown-field", detail=detail) for key in body])


async def _perhaps_object(request: Request) -> dict[str, Any]:
    """No body is an empty object. Raises as `_json_object` does."""
    return await _json_object(request) if await request.body() else {}


def read_as(
    model: type[Model], body: Mapping[str, Any], refusal: type[InvalidRequestError] = InvalidRequestError
) -> Model:
    """The body as `model` has it. Raises `refusal`, which points at what is wrong."""
    try:
        # As JSON, which a choice's word is read from.
        return model.model_validate_json(json.dumps(body))
    except ValidationError as error:
        found, fields = error.errors(), list(model.model_fields)
        raise refusal(first_problems((problem_of(each, fields) for each in found), len(found))) from None


def reads_body(dependency: object) -> bool:
    """Whether a route's dependency reads its body."""
    return dependency in (_json_object, _perhaps_object, _nothing)


JsonObject = Annotated[dict[str, Any], Depends(_json_object)]
PerhapsObject = Annotated[dict[str, Any], Depends(_perhaps_object)]
NoBody = Depends(_nothing)
