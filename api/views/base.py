"""Conversions that all views share: times, numbers and pages."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar, overload

from api.schemas.base import Listed
from jobs.store.pages import Page

Row = TypeVar("Row")
View = TypeVar("View")


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


def list_view(page: Page[Row], view: Callable[[Row], View]) -> Listed[View]:
    """Return a page of rows as a page of views."""
    data = [view(row) for row in page.data]
    return Listed(data=data, has_more=page.next_cursor is not None, next_cursor=page.next_cursor)
