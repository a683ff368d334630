"""Arguments of the client's methods, as parts of a request: ids and names in a path, and one value or several."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

from gantry.errors import BadArgumentError

_NOT_SEGMENTS: Final = ("", ".", "..")


def path_of(*segments: str | int) -> str:
    """Return the path of a resource below /v1, with each segment quoted. White space around one is cut off.

    White space comes from files: a line of a file that Windows wrote ends with CR. Raises `BadArgumentError` for an
    empty segment, or one that would lead to another path.
    """
    return "/v1/" + "/".join(map(_quoted, segments))


def as_list(values: Any) -> list[Any]:
    """Return `values`, one or several, as a list. A string is a list of one, never its letters; None is empty."""
    if values is None:
        return []
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        return [values]
    return list(values)


def _quoted(segment: str | int) -> str:
    text = str(segment).strip()
    if text in _NOT_SEGMENTS:
        raise BadArgumentError(f"{str(segment)!r} is no id and no name.")
    # A name that is not Unicode cannot exist in the service, which then says so.
    return quote(text, safe="", errors="replace")
