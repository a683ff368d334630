"""The base of all response bodies, pages of a list, problem details, and the state of the service."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")

Number = Annotated[float | None, Field(description="null when it is NaN or infinite")]


class ResponseModel(BaseModel):
    """What all of them are."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Listed(ResponseModel, Generic[T]):
    """A page of a list."""

    data: list[T]
    has_more: bool
    next_cursor: str | None


class FieldError(ResponseModel):
    """One thing that is wrong with a request."""

    pointer: str = Field(description="RFC 6901 pointer into the body, or / and the parameter's name.")
    code: str
    detail: str


class Problem(BaseModel):
    """RFC 9457: every answer that is not 2xx or 304. Some codes bring members of their own."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str = Field(description="Stable and for machines.")
    request_id: str | None
    errors: list[FieldError] = Field([], description="With 422.")


class Reason(ResponseModel):
    """Why a job stands where it stands."""

    code: str
    message: str


class Alive(ResponseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Part(ResponseModel):
    """One part that the service needs."""

    ok: bool
    detail: str | None = None


class Ready(ResponseModel):
    """Every part is there."""

    status: Literal["ready"] = "ready"
    parts: dict[str, Part]
