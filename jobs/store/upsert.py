"""Upserts: rows that are written whole, whether they exist or not, with one statement for many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from jobs.models import Base


def upsert(s: Session, table: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Insert `rows`, all with the same columns; a row whose key exists takes the new values. Safe to repeat."""
    if not rows:
        return
    target = table.__table__
    assert isinstance(target, Table)
    dialect = sqlite if s.get_bind().dialect.name == "sqlite" else postgresql
    put = dialect.insert(target)
    key = list(target.primary_key.columns)
    changed = {name: put.excluded[name] for name in rows[0] if target.columns[name] not in key}
    # Pass the rows beside the statement, not inside it, so that it is compiled once and sent in one round trip.
    s.execute(put.on_conflict_do_update(index_elements=key, set_=changed), list(rows))
