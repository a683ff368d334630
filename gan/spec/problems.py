"""The problems of an invalid spec, with stable codes for programs and sentences for people.

A sentence states what is wrong and which values are valid. This module imports pydantic only.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from pydantic import BaseModel, ConfigDict
from pydantic_core import ErrorDetails

from gan.spec.pointers import pointer_to

MAX_PROBLEMS: Final = 50

_MAX_QUOTE: Final = 60

# Pydantic's error type -> our code, which is part of the API.
PROBLEM_CODES: Final = {
    "extra_forbidden": "unknown-field",
    "missing": "missing-field",
    "literal_error": "not-one-of",
    "enum": "not-one-of",
    "greater_than": "out-of-range",
    "greater_than_equal": "out-of-range",
    "less_than": "out-of-range",
    "less_than_equal": "out-of-range",
    "string_too_long": "out-of-range",
    "string_too_short": "out-of-range",
    "too_long": "out-of-range",
    "too_short": "out-of-range",
    "string_pattern_mismatch": "bad-format",
    "finite_number": "out-of-range",
}

# Pydantic's error type -> what the value must be, with placeholders for pydantic's context.
_MUST: Final = {
    "literal_error": "be {expected}",
    "greater_than": "be above {gt}",
    "greater_than_equal": "be at least {ge}",
    "less_than": "be below {lt}",
    "less_than_equal": "be at most {le}",
    "string_too_long": "have at most {max_length} characters",
    "string_too_short": "have at least {min_length} character",
    "too_long": "have at most {max_length} entries",
    "too_short": "have at least {min_length} entry",
    "string_pattern_mismatch": "be text without control characters and marks that change the direction of writing",
    "finite_number": "be a finite number",
    "int_type": "be a whole number",
    "int_from_float": "be a whole number",
    "int_parsing_size": "be a smaller whole number",
    "float_type": "be a number",
    "bool_type": "be true or false",
    "string_type": "be text",
    "model_type": "be an object",
    "model_attributes_type": "be an object",
    "dict_type": "be an object",
}
_KEY_MUST: Final = "have 1 to 63 letters, digits, '_', '.' or '-', and begin with a letter or a digit"


class SpecProblem(BaseModel):
    """One problem of a spec: an RFC 6901 pointer, a stable code, and a sentence on what to do."""

    model_config = ConfigDict(frozen=True)

    pointer: str
    code: str
    detail: str


class SpecError(ValueError):
    """The spec is invalid. `problems` has every reason."""

    def __init__(self, problems: Iterable[SpecProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__(" ".join(p.detail for p in self.problems))


def first_problems(problems: Iterator[SpecProblem], count: int) -> list[SpecProblem]:
    """Return the first `MAX_PROBLEMS` of `count` problems, and one more that states the number of the others.

    It takes only these from the iterator, because making the sentence of a problem takes time.
    """
    first = list(islice(problems, MAX_PROBLEMS))
    if count > len(first):
        detail = f"Further problems that are not listed: {count - len(first):,}."
        first.append(SpecProblem(pointer="", code="more-problems", detail=detail))
    return first


def problem_of(error: ErrorDetails, fields: Sequence[str]) -> SpecProblem:
    """Convert an error of pydantic; `fields` are the names that the object around it accepts."""
    is_key = error["loc"][-1:] == ("[key]",)
    path = [str(part) for part in error["loc"] if part != "[key]"]
    code = PROBLEM_CODES.get(error["type"], "wrong-type")
    if code == "unknown-field":
        detail = _unknown(path, fields)
    elif code == "missing-field":
        detail = f"{'.'.join(path)} must be given."
    else:
        must = _KEY_MUST if is_key else _MUST.get(error["type"])
        wanted = must.format(**error.get("ctx", {})) if must else f"be valid ({error['msg']})"
        name = f"The key {path[-1][:_MAX_QUOTE]!r} in {path[0]}" if is_key else ".".join(path)
        detail = f"{name} must {wanted}{'' if is_key else ', not ' + _quoted(error['input'])}."
    return SpecProblem(pointer=pointer_to(path), code=code, detail=detail)


def _unknown(path: Sequence[str], fields: Sequence[str]) -> str:
    name, where = path[-1][:_MAX_QUOTE], f" in {'.'.join(path[:-1])}" if len(path) > 1 else ""
    close = difflib.get_close_matches(name, fields, n=1, cutoff=0.8)
    hint = f"did you mean {close[0]!r}?" if close else f"the fields are {', '.join(fields)}."
    return f"There is no field {name!r}{where}; {hint}"


def _quoted(value: object) -> str:
    """Return a value as JSON, shortened to `_MAX_QUOTE` characters; of an object or array, its type and length."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'an array'} of {len(value)}"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_QUOTE else f"{text[:_MAX_QUOTE]}..."
