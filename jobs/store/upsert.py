"""Rows that are written whole, whether they were there or not: one statement for many, safe to repeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from jobs.models import Base


def upsert(s: Session, table: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Store `rows`, all of the same columns; one whose key is there already takes the new values."""
    if not rows:
        return
    target = table.__table__
    assert isinstance(target, Table)
    dialect = sqlite if s.get_bind().dialect.name == "sqlite" else postgresql
    put = dialect.insert(target)
    key = list(target.primary_key.columns)
    changed = {name: put.excluded[name] for name in rows[0] if target.columns[name] not in key}
    # As a list beside the statement, not inside of it: so it is compiled once, and sent in one go.
    s.execute(put.on_conflict_do_update(index_elements=key, set_=changed), list(rows))
