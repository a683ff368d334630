"""The base of all response bodies, pages of a list, problem details, and the health of the service."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")

Number = Annotated[float | None, Field(description="null when it is NaN or infinite")]


class ResponseModel(BaseModel):
    """The base of the response bodies: immutable, without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_serialization_defaults_required=True)


class Listed(ResponseModel, Generic[T]):
    """One page of a list."""

    data: list[T]
    has_more: bool
    next_cursor: str | None


class FieldError(ResponseModel):
    """One error in a request."""

    pointer: str = Field(description="RFC 6901 pointer into the body; for a parameter, / and its name.")
    code: str
    detail: str


class Problem(BaseModel):
    """The body of every error response (RFC 9457). Some codes have additional members."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str = Field(description="A stable code for programs.")
    request_id: str | None
    errors: list[FieldError] = Field([], description="With status 422: every error in the request.")


class Reason(ResponseModel):
    """The reason for a state, as a stable code and as text."""

    code: str
    message: str


class Alive(ResponseModel):
    """The process is running."""

    status: Literal["alive"] = "alive"


class Part(ResponseModel):
    """The state of one part that the service needs."""

    ok: bool
    detail: str | None = None


class Ready(ResponseModel):
    """The API works. `degraded` means that it accepts jobs, but that no worker takes them."""

    status: Literal["ready", "degraded"] = "ready"
    parts: dict[str, Part]
