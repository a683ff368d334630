"""The database's clock, as SQL: seconds since 1970.

It is the only clock whose readings are stored or compared.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Double, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement


class now(FunctionElement[float]):
    """The time at which this statement runs, not the time at which its transaction began, s since 1970."""

    type = Double()
    inherit_cache = True


@compiles(now, "postgresql")
def _postgresql(element: now, compiler: Any, **kw: Any) -> str:
    return "extract(epoch from clock_timestamp())::double precision"


@compiles(now, "sqlite")
def _sqlite(element: now, compiler: Any, **kw: Any) -> str:
    # unixepoch('subsec') needs SQLite 3.42. A Julian day as a double resolves 40 microseconds on every version.
    return "((julianday('now') - 2440587.5) * 86400.0)"


def read(s: Session) -> float:
    """Return the database's time, s since 1970."""
    return float(s.execute(select(now())).scalar_one())
