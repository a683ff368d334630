"""Tests of the limit of the number of queued jobs."""

from __future__ import annotations

import pytest

from jobs.db import Database
from jobs.errors import QueueFullError
from jobs.store.queue_limit import QueueLimit
from tests.jobs.helpers import submit
from tests.jobs.store.test_plans import sent


def _admit(db: Database, limit: QueueLimit) -> int:
    """Ask for room for one more job; return how often that counts."""
    with sent(db) as statements, db.read() as s:
        limit.admit(s)
    return sum("count(" in statement for statement, _ in statements)


def test_a_short_queue_is_counted_each_time_and_exactly(db: Database) -> None:
    limit = QueueLimit(2)
    for _ in range(2):
        assert _admit(db, limit) == 1
        submit(db)
    for _ in range(2):
        with pytest.raises(QueueFullError, match="2 jobs already wait"):
            _admit(db, limit)


def test_a_long_queue_is_counted_once_for_a_hundredth_of_its_room(db: Database) -> None:
    limit = QueueLimit(1_000)
    assert [_admit(db, limit) for _ in range(21)] == [1, *([0] * 9), 1, *([0] * 9), 1]
