"""The measurement of the queue in small: no statement reads much of a long queue, and lost jobs are noticed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from benchmarks.fleet import queued, scale
from benchmarks.fleet.scale import Extent, Fleet, LostOrDoubledError, Row
from jobs.db import Session
from tests.jobs.store.test_plans import sent

LENGTH: Final = 10_000
TENANTS: Final = 4
MOST_READ: Final = 4_000
"""Rows of jobs that one statement may read: a position counts up to 1,001 jobs of each tenant."""


@pytest.fixture(scope="module")
def fleet(postgres_server: str, postgres_template: str) -> Iterator[Fleet]:
    """Yield a database with a queue that is much longer than what any statement may read."""
    with scale.fleets(postgres_server, [LENGTH], TENANTS, postgres_template) as made:
        yield made[LENGTH]


def _reads_of_jobs(s: Session, statement: str, parameters: Any) -> Iterator[tuple[str, float]]:
    """Run a statement; yield the kind of each node of its plan that reads jobs, and how many rows it has read."""
    explain = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}"
    answer = s.connection().exec_driver_sql(explain, parameters).scalar_one()
    nodes = [(answer if isinstance(answer, list) else json.loads(answer))[0]["Plan"]]
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", ())
        if node.get("Relation Name") == "jobs" and node["Node Type"] != "ModifyTable":
            rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            yield node["Node Type"], rows * node["Actual Loops"]


@pytest.mark.postgres
@pytest.mark.xdist_group("scale")
def test_no_statement_reads_much_of_a_long_queue(fleet: Fleet) -> None:
    actions: list[Callable[[], object]] = [*fleet.actions.values(), lambda: fleet.poll(queued.BUSY + 1_000)]
    for act in actions:
        act()
    with sent(fleet.db) as statements:
        for act in actions:
            act()
    read: Counter[str] = Counter()
    with fleet.db.write() as s:
        for statement, parameters in dict(statements).items():
            if statement.startswith(("SELECT", "UPDATE")):
                for kind, rows in _reads_of_jobs(s, statement, parameters):
                    assert kind != "Seq Scan", statement
                    read[statement] += int(rows)
        s.rollback()
    assert max(read.values()) > queued.BUSY, "the plans were not read"
    assert {statement: rows for statement, rows in read.items() if rows > MOST_READ} == {}


@pytest.mark.postgres
@pytest.mark.xdist_group("scale")
def test_jobs_that_are_lost_or_doubled_by_claims_are_noticed(fleet: Fleet) -> None:
    assert "none was lost or doubled" in scale.claim_at_once({LENGTH: fleet}, TENANTS, Extent(claimers=4, claims=12))
    before = scale.statuses(fleet)
    job_id = fleet.claim()
    assert job_id is not None
    scale.check(fleet, before, [job_id], 1)
    with pytest.raises(LostOrDoubledError, match="given to two workers"):
        scale.check(fleet, before, [job_id, job_id], 2)
    with pytest.raises(LostOrDoubledError, match="0 of 1 claims gave a job"):
        scale.check(fleet, before, [], 1)


def test_a_ratio_is_that_of_the_longest_queue_to_the_shortest() -> None:
    row = Row("claim", 1, {10: [1.0, 2.0, 3.0], 1000: [4.0, 4.0, 6.0], 100: [9.0] * 3})
    assert (row.ratio(50), row.ratio(99)) == (2.0, 2.0)
