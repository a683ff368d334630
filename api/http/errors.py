"""Errors that only the HTTP interface raises; `api.http.problems` maps them to statuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jobs.errors import (
    ConflictError,
    GantryError,
    InvalidRequestError,
    PresetNotFoundError,
    SingleProblemError,
    UnavailableError,
)


class MalformedJsonError(SingleProblemError):
    """A body that is not JSON; `line` and `column` count from 1."""

    code = "malformed-json"

    def __init__(self, what: str, line: int, column: int) -> None:
        self.line, self.column = line, column
        detail = f"The body is not JSON that can be read: {what} (line {line}, column {column})."
        super().__init__("", detail)


class UnsupportedMediaTypeError(SingleProblemError):
    """A body of another type than the route reads."""

    code = "unsupported-media-type"

    def __init__(self, sent: str, wanted: str = "application/json in UTF-8") -> None:
        detail = f"The body must be sent as {wanted}; this one says {sent[:200] or 'nothing'!r}."
        super().__init__("", detail)


class NotAcceptableError(SingleProblemError):
    """None of the types in Accept can be made here."""

    code = "not-acceptable"

    def __init__(self, accept: str, offered: Sequence[str]) -> None:
        detail = f"Nothing that Accept {accept[:200]!r} asks for is made here. Take one of: {', '.join(offered)}."
        super().__init__("", detail, valid=offered)


class BadParametersError(InvalidRequestError):
    """Path, query or header values that cannot be."""

    code = "invalid-parameters"


class NoSuchPresetError(PresetNotFoundError):
    """A preset's name in an address; `valid` are those that there are."""

    def __init__(self, name: str, valid: Sequence[str]) -> None:
        super().__init__(name)
        self.valid = list(valid)

    def __str__(self) -> str:
        return f"{super().__str__()} Take one of: {', '.join(self.valid)}."


class NoPreviewError(ConflictError):
    """There is nothing to show yet."""

    code = "no-preview"


class ExportUnavailableError(GantryError):
    """This generator cannot be written in that format."""

    code = "export-unavailable"


class NotReadyError(UnavailableError):
    """A part that the service needs is down; `parts` tells of each."""

    code = "not-ready"

    def __init__(self, parts: Mapping[str, Mapping[str, Any]]) -> None:
        self.parts = {name: dict(part) for name, part in parts.items()}
        down = [f"{name}: {part['detail']}" for name, part in parts.items() if not part["ok"]]
        super().__init__("Not ready. " + " ".join(down))
