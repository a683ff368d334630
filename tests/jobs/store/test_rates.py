"""The duration of a job is estimated from jobs that cost as much and were measured."""

from __future__ import annotations

from gan.spec import TrainSpec, from_record
from jobs import leases
from jobs.db import Database
from jobs.models import DEFAULT_TENANT
from jobs.status import Status
from jobs.store.callers import tenants
from jobs.store.rates import MeasuredRate, newest_like
from tests.jobs.helpers import submit


def test_the_newest_rate_of_a_job_that_costs_as_much_is_found(db: Database) -> None:
    spec = from_record(submit(db).spec)

    def found(**other: object) -> MeasuredRate | None:
        with db.read() as s:
            return newest_like(s, spec.model_copy(update=other), DEFAULT_TENANT)

    assert found() is None
    _measure(db, 120.0, ends=True)
    assert found() == MeasuredRate(120.0, "cpu")
    submit(db)
    _measure(db, 80.0, ends=True)
    assert found() == MeasuredRate(80.0, "cpu")
    assert found(total_steps=7, seed=9, name="another") == found(), "none of these changes the cost of an image"
    slower = spec.optimizers.d.model_copy(update={"learning_rate": 1e-5, "schedule": "linear"})
    assert found(optimizers=spec.optimizers.model_copy(update={"d": slower})) == found(), "nor does this"
    other = slower.model_copy(update={"kind": "rmsprop"})
    assert found(optimizers=spec.optimizers.model_copy(update={"d": other})) is None
    assert found(batch_size=spec.batch_size + 1) is None
    submit(db)
    _measure(db, 40.0, ends=False)
    assert found() == MeasuredRate(40.0, "cpu")


def test_jobs_of_another_tenant_count_only_on_built_in_data_sets(db: Database) -> None:
    with db.write() as s:
        tenants.get_or_create(s, "theirs")
    spec: TrainSpec = from_record(submit(db, tenant="theirs").spec)
    _measure(db, 120.0, ends=True)
    with db.read() as s:
        assert newest_like(s, spec, DEFAULT_TENANT) is not None
        assert newest_like(s, spec.model_copy(update={"dataset": "shoes"}), DEFAULT_TENANT) is None


def _measure(db: Database, rate: float, *, ends: bool) -> None:
    """Claim the next job, report a rate, and end it if `ends`."""
    with db.write() as s:
        job = leases.claim(s, "w", "cpu", 0, 60)
        assert job is not None
        leases.fence(s, job.id, 1, 60, step=5, images_seen=80, images_per_second=rate)
        if ends:
            leases.finish(s, job.id, 1, Status.SUCCEEDED)
