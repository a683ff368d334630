"""Tests of positions in the queue: they follow the order of claims, and far ones are not counted."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import insert

from jobs import leases
from jobs.db import Database
from jobs.ids import new_id
from jobs.models import Job
from jobs.status import Status
from jobs.store import jobs, positions
from jobs.store.callers import tenants
from tests.jobs.helpers import submit


def _tenants(db: Database, *names: str, **quotas: object) -> None:
    with db.write() as s:
        for name in names:
            tenants.set_quotas(s, name, quotas)


def _claim(db: Database) -> Job | None:
    with db.write() as s:
        return leases.claim(s, "w", "cpu", 0, 60)


def _copies(db: Database, job: Job, count: int, **changed: object) -> list[str]:
    """Store `count` queued jobs like this one; return their ids, the oldest first."""
    values = {column.key: getattr(job, column.key) for column in Job.__table__.columns} | changed
    ids = [new_id("job") for _ in range(count)]
    with db.write() as s:
        s.execute(
            insert(Job), [{**values, "id": each, "created_at": job.created_at + n} for n, each in enumerate(ids, 1)]
        )
    return ids


def _find(db: Database, *job_ids: str, most_gpus: int | None = 0) -> list[tuple[int, bool]]:
    with db.read() as s:
        found = positions.find(s, [jobs.get(s, job_id) for job_id in job_ids], most_gpus)
    return [(found[job_id].ahead, found[job_id].at_least) for job_id in job_ids]


@pytest.mark.parametrize("seed", range(5))
def test_positions_follow_the_order_of_claims(db: Database, seed: int) -> None:
    rng = random.Random(seed)
    names = ["a", "b", "c"]
    _tenants(db, *names)
    with db.write() as s:
        tenants.set_quotas(s, "c", {"max_running": 2})
    for _ in range(6):
        submit(db, tenant=rng.choice(names), priority=rng.randrange(3))
    for _ in range(rng.randrange(4)):
        _claim(db)
    waiting = [submit(db, tenant=rng.choice(names), priority=rng.randrange(3)) for _ in range(6)]
    with db.read() as s:
        rows = [row.row for row in jobs.page(s, limit=50, statuses=[Status.QUEUED]).data]
        found = positions.find(s, rows, 0)
    assert {job.id for job in waiting} <= found.keys()
    claimed = []
    while (job := _claim(db)) is not None:
        claimed.append(job.id)
    # No job ends in the meantime, so jobs of a tenant at its limit are not claimed here.
    assert [found[job_id].ahead for job_id in claimed] == sorted(found[job_id].ahead for job_id in claimed)
    assert [found[job_id].ahead for job_id in claimed] == list(range(len(claimed)))


def test_more_than_a_thousand_jobs_ahead_are_not_counted(db: Database) -> None:
    _tenants(db, "many", "one")
    first = submit(db, tenant="many")
    ids = [first.id, *_copies(db, first, 1100)]
    assert _find(db, *(ids[n] for n in (0, 17, 999, 1000, 1001, 1100))) == [
        *((0, False), (17, False), (999, False), (1000, False), (1000, True), (1000, True))
    ]
    lone = submit(db, tenant="one")
    later = _copies(db, lone, 3)
    # The tenants take turns: the second job of the second tenant follows two of the first.
    assert _find(db, lone.id, *later, ids[999], ids[997]) == [
        *((1, False), (3, False), (5, False), (7, False)),
        *((1000, True), (1000, True)),
    ]
    assert _find(db, ids[996]) == [(1000, False)], "996 of its own, and all four of the other tenant"


def test_many_tenants_are_ahead_once_for_each_turn(db: Database) -> None:
    names = [f"t{n:03}" for n in range(40)]
    _tenants(db, *names)
    first = submit(db, tenant=names[0])
    queued = {name: _copies(db, first, 30, tenant=name, priority=n % 3) for n, name in enumerate(names)}
    last = queued[names[-1]]
    # Nobody was served yet: names decide. The first tenant has one job more, its first one.
    assert _find(db, last[0], last[1], last[24], last[25]) == [
        *((39, False), (79, False), (24 * 40 + 39, False)),
        (1000, True),
    ]


def test_jobs_that_no_worker_can_run_delay_nobody(db: Database) -> None:
    heavy = [submit(db, resources={"gpus": 1}) for _ in range(3)]
    light = [submit(db) for _ in range(2)]
    both = [heavy[0].id, heavy[2].id, light[0].id, light[1].id]
    assert _find(db, *both, most_gpus=1) == [(0, False), (2, False), (3, False), (4, False)]
    assert _find(db, *both, most_gpus=0) == [(0, False), (0, False), (0, False), (1, False)]
    assert _find(db, *both, most_gpus=None) == _find(db, *both, most_gpus=0)


def test_jobs_beyond_a_limit_are_ahead_of_their_tenants_jobs_only(db: Database) -> None:
    _tenants(db, "free")
    _tenants(db, "held", max_running=2)
    held = [submit(db, tenant="held").id for _ in range(5)]
    free = [submit(db, tenant="free").id for _ in range(4)]
    assert _find(db, *free) == [(0, False), (2, False), (4, False), (5, False)]
    assert [ahead for ahead, _ in _find(db, *held)] == [1, 3, 5, 7, 8]
