"""Conversions that all views share: times, numbers and pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar, overload

from fastapi import Response
from pydantic import BaseModel

from api.http.parameters import Fields
from api.schemas.base import Listed
from jobs.store.pages import Page

Row = TypeVar("Row")


@overload
def moment(seconds: float) -> datetime: ...
@overload
def moment(seconds: None) -> None: ...
def moment(seconds: float | None) -> datetime | None:
    """Return a time of the database's clock, in seconds since 1970, as UTC to the millisecond."""
    return None if seconds is None else datetime.fromtimestamp(round(seconds, 3), UTC)


def finite(values: dict[str, Any]) -> dict[str, float | None]:
    """Return the numbers by name, with None for each that is not finite."""
    return {k: v if isinstance(v, int | float) and math.isfinite(v) else None for k, v in values.items()}


def list_view(page: Page[Row], view: Callable[[Row], BaseModel], fields: Fields = ()) -> Response:
    """Return a page of rows as the response of a list; its rows have `fields` only, if there are any."""
    return list_of([view(row) for row in page.data], page.next_cursor, fields)


def list_of(rows: Sequence[BaseModel], next_cursor: str | None, fields: Fields = ()) -> Response:
    """Return the response of a list with these rows; they have `fields` only, if there are any."""
    page = Listed[Any](data=list(rows), has_more=next_cursor is not None, next_cursor=next_cursor)
    shown: dict[str, Any] = {"data": {"__all__": set(fields)}, "has_more": True, "next_cursor": True}
    return Response(page.model_dump_json(include=shown if fields else None), media_type="application/json")
