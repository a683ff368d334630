"""Query parameters: what every route checks of them, and those that lists share."""

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
from starlette.exceptions import HTTPException

from api.http.errors import BadParametersError
from gan.spec import UNSEEN, SpecProblem, first_problems, pointer_to

# Those that no text of a spec may hold; every other character may stand in a name or a label.
_UNSEEN: Final = re.compile(f"[{UNSEEN}]")

_KNOWN: Final[WeakKeyDictionary[Callable[..., Any], dict[str, bool]]] = WeakKeyDictionary()


async def checked(request: Request) -> None:
    """Refuse query parameters that the route does not know, and bytes that no id or name holds.

    Stands before every route of the app. Raises `BadParametersError`, or 404 for a path with control characters.
    """
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    known = known_parameters(route)
    unknown = [name for name in request.query_params if name not in known]
    problems = first_problems((_unknown(name, known) for name in unknown), len(unknown))
    problems += [_twice(name) for name, many in known.items() if not many and _count(request, name) > 1]
    problems += [_unreadable(name) for name, value in request.query_params.multi_items() if _UNSEEN.search(value)]
    if problems:
        raise BadParametersError(problems)
    if _UNSEEN.search(request.scope["path"]):
        raise HTTPException(404)


def known_parameters(route: APIRoute) -> dict[str, bool]:
    """The names of the query parameters of `route` and of what it depends on; whether each may be repeated."""
    # Kept, as it stands before every request and takes longer than all else there.
    if (known := _KNOWN.get(route.endpoint)) is None:
        known = {field.alias: "list[" in str(field.field_info.annotation) for field in _fields(route.dependant)}
        _KNOWN[route.endpoint] = known
    return known


@dataclass(frozen=True)
class Paging:
    """Which stretch of a list."""

    limit: int
    cursor: str | None


async def _paging(
    limit: Annotated[int, Query(ge=1, le=200, description="Rows in a page.")] = 50,
    cursor: Annotated[
        str | None, Query(max_length=500, description="next_cursor of the page before; none: from the start.")
    ] = None,
) -> Paging:
    return Paging(limit, cursor)


PageOf = Annotated[Paging, Depends(_paging)]


def split(words: str | None, name: str) -> list[str]:
    """The words of the comma-separated parameter `name`, each once; none when it was not sent.

    Raises `BadParametersError` where a word is blank: it would be read as "all", which is not what was written.
    """
    if words is None:
        return []
    found = [word.strip() for word in words.split(",")]
    if not all(found):
        detail = f"{name} holds an empty word in {words[:200]!r}; write words, separated by commas, "
        detail += "or leave the parameter out."
        raise BadParametersError([SpecProblem(pointer=f"/{name}", code="bad-format", detail=detail)])
    return list(dict.fromkeys(found))


def _fields(dependant: Dependant) -> list:  # type: ignore[type-arg]
    return [*dependant.query_params, *(field for d in dependant.dependencies for field in _fields(d))]


def _count(request: Request, name: str) -> int:
    return len(request.query_params.getlist(name))


def _unknown(name: str, known: dict[str, bool]) -> SpecProblem:
    close = difflib.get_close_matches(name, known, n=1)
    listed = f"known here: {', '.join(sorted(known)) or 'none'}."
    hint = f"did you mean {close[0]!r}?" if close else listed
    detail = f"There is no query parameter {name[:200]!r}; {hint}"
    return SpecProblem(pointer=pointer_to([name]), code="unknown-parameter", detail=detail)


def _twice(name: str) -> SpecProblem:
    return SpecProblem(pointer=f"/{name}", code="repeated-parameter", detail=f"{name} may be given once only.")


def _unreadable(name: str) -> SpecProblem:
    detail = f"{name[:200]!r} holds control characters, or marks that turn the direction of writing."
    return SpecProblem(pointer=f"/{name}", code="bad-format", detail=detail)
