"""Query parameters: the checks that every route makes, and the parameters that all lists have."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final
from weakref import WeakKeyDictionary

from fastapi import Depends, Query, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from api.http.errors import BadParametersError
from gan.spec import UNSEEN, SpecProblem, first_problems, pointer_to

# The characters that the text fields of a spec refuse, too. Every other one may be part of a name or a label.
_UNSEEN: Final = re.compile(f"[{UNSEEN}]")

_KNOWN: Final[WeakKeyDictionary[Callable[..., Any], dict[str, bool]]] = WeakKeyDictionary()


async def check_parameters(request: Request) -> None:
    """Refuse unknown or repeated query parameters, and characters that no id or name contains.

    Every route of the app depends on it. Raises `BadParametersError`, or 404 for a path with control characters.
    """
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    known = known_parameters(route)
    unknown = [name for name in request.query_params if name not in known]
    problems = first_problems((_unknown(name, known) for name in unknown), len(unknown))
    problems += [_repeated(name) for name, is_list in known.items() if not is_list and _count(request, name) > 1]
    problems += [_unprintable(name) for name, value in request.query_params.multi_items() if _UNSEEN.search(value)]
    if problems:
        raise BadParametersError(problems)
    if _UNSEEN.search(request.scope["path"]):
        raise HTTPException(404)


def known_parameters(route: APIRoute) -> dict[str, bool]:
    """Return the query parameters of `route` and of its dependencies: by name, whether each may be repeated."""
    # Cached, because it runs before every request and takes longer than everything else there.
    if (known := _KNOWN.get(route.endpoint)) is None:
        known = {field.alias: "list[" in str(field.field_info.annotation) for field in _fields(route.dependant)}
        _KNOWN[route.endpoint] = known
    return known


@dataclass(frozen=True)
class Paging:
    """The part of a list that a request asks for."""

    limit: int
    cursor: str | None


async def _paging(
    limit: Annotated[int, Query(ge=1, le=200, description="The largest number of rows in a page.")] = 50,
    cursor: Annotated[
        str | None,
        Query(
            max_length=500, description="The next_cursor of the previous page; omit it to start at the first page."
        ),
    ] = None,
) -> Paging:
    return Paging(limit, cursor)


PageOf = Annotated[Paging, Depends(_paging)]

Fields = tuple[str, ...]
"""The fields that the rows of a list shall have; empty for all of them."""


def fields_of(model: type[BaseModel]) -> Any:
    """Return the dependency that reads the parameter `fields` of a list of `model`."""
    known = list(model.model_fields)
    about = f"Only these fields of each row, separated by commas: {', '.join(known)}. Omit it for all fields."
    one = "|".join(known)
    query = Query(
        None,
        max_length=1000,
        examples=[",".join(known[:2])],
        description=about,
        json_schema_extra={"pattern": f"^({one})(,({one}))*$"},
    )

    # Not in `Annotated`: FastAPI evaluates annotations outside of this function, where there is no `query`.
    async def read(fields: str | None = query) -> Fields:
        wanted = split(fields, "fields")
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise BadParametersError(first_problems((_unknown_field(name, known) for name in unknown), len(unknown)))
        return tuple(wanted)

    return Depends(read)


def split(words: str | None, name: str) -> list[str]:
    """Return the words of the comma-separated parameter `name`, each once; none if it was not sent.

    Raises `BadParametersError` if a word is empty: otherwise an empty value would mean "all".
    """
    if words is None:
        return []
    found = [word.strip() for word in words.split(",")]
    if not all(found):
        detail = f"{name} contains an empty word in {words[:200]!r}; write words separated by commas, "
        detail += "or omit the parameter."
        raise BadParametersError([SpecProblem(pointer=pointer_to([name]), code="bad-format", detail=detail)])
    return list(dict.fromkeys(found))


def _fields(dependant: Dependant) -> list:  # type: ignore[type-arg]
    return [*dependant.query_params, *(field for d in dependant.dependencies for field in _fields(d))]


def _count(request: Request, name: str) -> int:
    return len(request.query_params.getlist(name))


def _unknown(name: str, known: dict[str, bool]) -> SpecProblem:
    close = difflib.get_close_matches(name, known, n=1)
    names = f"this address takes: {', '.join(sorted(known)) or 'none'}."
    hint = f"did you mean {close[0]!r}?" if close else names
    detail = f"There is no query parameter {name[:200]!r}; {hint}"
    return SpecProblem(pointer=pointer_to([name]), code="unknown-parameter", detail=detail)


def _unknown_field(name: str, known: list[str]) -> SpecProblem:
    detail = f"There is no field {name[:200]!r}; the fields of a row are: {', '.join(known)}."
    return SpecProblem(pointer="/fields", code="not-one-of", detail=detail)


def _repeated(name: str) -> SpecProblem:
    detail = f"{name} may be given only once."
    return SpecProblem(pointer=pointer_to([name]), code="repeated-parameter", detail=detail)


def _unprintable(name: str) -> SpecProblem:
    detail = f"{name[:200]!r} contains control characters, or characters that change the direction of text."
    return SpecProblem(pointer=pointer_to([name]), code="bad-format", detail=detail)
