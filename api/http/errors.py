"""Errors that only the API raises; `api.http.problems` maps them to statuses."""

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
    """A body that is not valid JSON; `line` and `column` count from 1."""

    code = "malformed-json"

    def __init__(self, reason: str, line: int, column: int) -> None:
        self.line, self.column = line, column
        super().__init__("", f"The body is not valid JSON: {reason} (line {line}, column {column}).")


class UnsupportedMediaTypeError(SingleProblemError):
    """A body of another media type than the route reads."""

    code = "unsupported-media-type"

    def __init__(self, content_type: str, expected: str = "application/json in UTF-8") -> None:
        sent = f"its Content-Type is {content_type[:200]!r}" if content_type else "it has no Content-Type"
        super().__init__("", f"The body must be sent as {expected}; {sent}.")


class NotAcceptableError(SingleProblemError):
    """An Accept header without an available media type; `valid` are the available ones."""

    code = "not-acceptable"

    def __init__(self, accept: str, offered: Sequence[str]) -> None:
        detail = f"None of the media types in Accept {accept[:200]!r} is available. Use one of: {', '.join(offered)}."
        super().__init__("", detail, valid=offered)


class BadParametersError(InvalidRequestError):
    """Path, query or header values that are not valid."""

    code = "invalid-parameters"


class NoSuchPresetError(PresetNotFoundError):
    """An unknown preset in a path; `valid` are the names of all presets."""

    def __init__(self, name: str, valid: Sequence[str]) -> None:
        super().__init__(name)
        self.valid = list(valid)

    def __str__(self) -> str:
        return f"{super().__str__()} Use one of: {', '.join(self.valid)}."


class NoPreviewError(ConflictError):
    """The job has no preview."""

    code = "no-preview"


class SamplerExportError(GantryError):
    """The sampler has responded that it cannot export the generator in this format.

    Its cause is a `gan.export.OnnxUnavailableError` in the process of the sampler. The API cannot raise that class,
    because it loads no torch.
    """

    code = "export-unavailable"


class NotReadyError(UnavailableError):
    """A part that the service needs is down; `parts` holds the state of each part by its name."""

    code = "not-ready"

    def __init__(self, parts: Mapping[str, Mapping[str, Any]]) -> None:
        self.parts = {name: dict(part) for name, part in parts.items()}
        down = [f"{name}: {part['detail']}" for name, part in parts.items() if not part["ok"]]
        super().__init__("The service is not ready. " + " ".join(down))
