"""Tests of the queue: fair among tenants, then by priority, then by age; and of quotas."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from sqlalchemy import insert

from jobs import leases
from jobs.db import Database
from jobs.errors import QuotaExceededError, QuotaUsedUpError
from jobs.ids import new_id
from jobs.models import Job
from jobs.status import Status
from jobs.storage import StoredFile
from jobs.store import checkpoints, jobs, positions, previews
from jobs.store.callers import tenants
from tests.jobs.helpers import submit


def _tenants(db: Database, *names: str, **quotas: object) -> None:
    with db.write() as s:
        for name in names:
            tenants.set_quotas(s, name, quotas)


def _claim(db: Database) -> Job | None:
    with db.write() as s:
        return leases.claim(s, "w", "cpu", 0, 60)


def _end(db: Database, job: Job) -> None:
    with db.write() as s:
        leases.finish(s, job.id, job.attempt, Status.SUCCEEDED)


def _order(db: Database) -> list[str]:
    """Return the tenants whose jobs one worker claims, one after the other."""
    served = []
    while (job := _claim(db)) is not None:
        served.append(job.tenant)
        _end(db, job)
    return served


def test_a_tenants_first_job_does_not_wait_for_another_tenants_many(db: Database) -> None:
    _tenants(db, "many", "one")
    one_of_many = submit(db, tenant="many")
    values = {column.key: getattr(one_of_many, column.key) for column in Job.__table__.columns}
    with db.write() as s:
        s.execute(insert(Job), [{**values, "id": new_id("job"), "priority": 9} for _ in range(4999)])
    first = _claim(db)
    assert first is not None and first.tenant == "many"
    lone = submit(db, tenant="one")
    with db.read("one") as s:
        assert positions.find(s, [lone], 0)[lone.id].ahead == 0
    _end(db, first)
    found = _claim(db)
    assert found is not None and found.id == lone.id


def test_tenants_take_turns(db: Database) -> None:
    _tenants(db, "a", "b", "c")
    for tenant in ("a", "a", "a", "b", "b", "c"):
        submit(db, tenant=tenant)
    served = _order(db)
    assert sorted(served[:3]) == ["a", "b", "c"] and sorted(served[3:5]) == ["a", "b"] and served[5] == "a"


def test_the_tenant_with_the_fewest_running_jobs_is_next(db: Database) -> None:
    _tenants(db, "a", "b")
    submit(db, tenant="a"), submit(db, tenant="a")
    assert _claim(db) and _claim(db)
    submit(db, tenant="a"), submit(db, tenant="b"), submit(db, tenant="b")
    assert [job.tenant for job in (_claim(db), _claim(db), _claim(db)) if job] == ["b", "b", "a"]


def test_claims_at_the_same_time_wait_for_nobody_and_serve_different_tenants(db: Database) -> None:
    if db.dialect == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    _tenants(db, "a", "b")
    _tenants(db, "c", max_running=1)
    for tenant in ("a", "a", "b", "c", "c"):
        submit(db, tenant=tenant)
    with ExitStack() as stack:
        # None of these transactions has ended when the next one begins.
        sessions = [stack.enter_context(db.write()) for _ in range(4)]
        claimed = [leases.claim(s, f"w{number}", "cpu", 0, 60) for number, s in enumerate(sessions)]
    assert [job.tenant for job in claimed if job] == ["a", "b", "c", "a"]
    assert len({job.id for job in claimed if job}) == 4
    assert _claim(db) is None, "the last job is of a tenant that runs as many as it may"


def test_a_worker_with_a_gpu_takes_the_best_job_of_either_kind(db: Database) -> None:
    light, heavy = submit(db, priority=1), submit(db, priority=1, resources={"gpus": 1})
    urgent, least = submit(db, priority=2, resources={"gpus": 1}), submit(db)
    claimed = []
    for _ in range(5):
        with db.write() as s:
            claimed.append(leases.claim(s, "w", "cuda:0", 1, 60))
    assert [job.id for job in claimed if job] == [urgent.id, light.id, heavy.id, least.id]


def test_a_tenant_at_its_limit_is_skipped_and_its_jobs_marked_as_held(db: Database) -> None:
    _tenants(db, "held", max_running=1)
    _tenants(db, "free")
    submit(db, tenant="held"), submit(db, tenant="held")
    running = _claim(db)
    assert running is not None and _claim(db) is None
    with db.read() as s:
        (waiting,) = [row.row for row in jobs.page(s, limit=9, statuses=[Status.QUEUED]).data]
        assert positions.find(s, [waiting], 0)[waiting.id].held
    submit(db, tenant="free")
    other = _claim(db)
    assert other is not None and other.tenant == "free"
    _end(db, running)
    assert (_claim(db) or other).id == waiting.id


def test_the_number_of_waiting_jobs_is_limited(db: Database) -> None:
    _tenants(db, "small", max_queued=2)
    first, second = submit(db, tenant="small"), submit(db, tenant="small")
    with db.write("small") as s:
        jobs.request_pause(s, second.id)
    with pytest.raises(QuotaExceededError, match="2 of 2 jobs already wait"):
        submit(db, tenant="small")
    assert (_claim(db) or second).id == first.id
    submit(db, tenant="small")


def test_device_hours_are_the_time_of_attempts(db: Database) -> None:
    _tenants(db, "small", device_hours=0.5)
    submit(db, tenant="small")
    job = _claim(db)
    assert job is not None
    with db.write() as s:
        s.get_one(Job, job.id).claimed_at -= 1800  # type: ignore[operator]
    _end(db, job)
    with db.read() as s:
        used = tenants.usage(s, tenants.get(s, "small"))
    assert used.device_hours == pytest.approx(0.5, abs=0.01) and (used.queued, used.running) == (0, 0)
    with pytest.raises(QuotaUsedUpError, match=r"All 0.5 device hours"):
        submit(db, tenant="small")


def test_jobs_wait_while_device_hours_are_used_up(db: Database) -> None:
    _tenants(db, "small", device_hours=1)
    first, second = submit(db, tenant="small"), submit(db, tenant="small")
    with db.write() as s:
        tenants.add_device_time(s, "small", 3600, 1)
    assert _claim(db) is None
    with db.read() as s:
        found = positions.find(s, [s.get_one(Job, first.id), s.get_one(Job, second.id)], 0)
        assert all(position.spent for position in found.values())
    _tenants(db, "small", device_hours=2)
    claimed = _claim(db)
    assert claimed is not None and claimed.id == first.id


def test_storage_is_checkpoints_previews_and_data_sets(db: Database) -> None:
    _tenants(db, "small", storage_mb=3)
    job = submit(db, tenant="small")
    file, weights = StoredFile("f", 2_000_000, "0" * 64), StoredFile("w", 1_500_000, "1" * 64)
    with db.write() as s:
        checkpoints.register(s, job.id, 1, 1, {}, file, weights, best=False)
        previews.register(s, job.id, 1, 1, StoredFile("p", 40_000, "2" * 64))
        assert tenants.stored_bytes(s, "small") == 3_540_000
    with pytest.raises(QuotaUsedUpError, match="would take 4 MB of 3"):
        submit(db, tenant="small")
    with db.write() as s:
        tenants.set_quotas(s, "small", {"storage_mb": None})
    submit(db, tenant="small")
