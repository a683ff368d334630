"""Tests of sessions that are limited to one tenant."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, func, select, update

from gan.spec import BUILTIN_DATASETS
from jobs.db import Database
from jobs.errors import DatasetNotFoundError, JobNotFoundError
from jobs.models import ApiKey, Base, Checkpoint, Job, JobEvent, OfJob, OfTenant, TenantTurn
from jobs.storage import StoredFile
from jobs.store import checkpoints, datasets, events, jobs, metrics, positions
from jobs.store.callers import tenants
from tests.jobs.helpers import submit

FILE = StoredFile("job_x/f", 3, "0" * 64)


@pytest.fixture
def two(db: Database) -> tuple[Job, Job]:
    """Return two jobs of two tenants, ours and theirs."""
    with db.write() as s:
        for name in ("ours", "theirs"):
            tenants.get_or_create(s, name)
    return submit(db, tenant="ours"), submit(db, tenant="theirs")


def test_a_tenant_finds_only_its_own_jobs(db: Database, two: tuple[Job, Job]) -> None:
    ours, theirs = two
    with db.read("ours") as s:
        assert jobs.get(s, ours.id).tenant == "ours"
        assert [row.row.id for row in jobs.page(s, limit=9).data] == [ours.id]
        assert (
            jobs.fetch_details(s, [ours.id, theirs.id]).keys()
            == jobs.row_versions(s, [ours.id, theirs.id]).keys()
            == {ours.id}
        )
        for find in (jobs.get, jobs.require_exists):
            with pytest.raises(JobNotFoundError):
                find(s, theirs.id)
    with db.read() as s:
        assert {row.row.id for row in jobs.page(s, limit=9).data} == {ours.id, theirs.id}, "the service sees all rows"


@pytest.mark.parametrize(
    "action", [jobs.request_cancel, jobs.request_pause, jobs.resume, jobs.delete, jobs.request_checkpoint]
)
def test_a_tenant_changes_only_its_own_jobs(db: Database, two: tuple[Job, Job], action: object) -> None:
    with db.write("ours") as s, pytest.raises(JobNotFoundError):
        action(s, two[1].id)  # type: ignore[operator]


def test_rows_of_another_tenants_job_are_not_found(db: Database, two: tuple[Job, Job]) -> None:
    theirs = two[1]
    with db.write() as s:
        saved = checkpoints.register(s, theirs.id, 1, 10, {}, FILE, FILE, best=True)
    with db.read("ours") as s:
        assert events.page(s, theirs.id, 0, 10) == [] and checkpoints.count(s, theirs.id) == 0
        assert metrics.names_of(s, theirs.id) == []
        assert s.get(Checkpoint, saved.id) is None
        assert s.scalar(select(func.count()).select_from(JobEvent)) == 1
    with db.read("theirs") as s:
        assert s.get(Checkpoint, saved.id) is not None


def test_changes_and_subqueries_are_limited_too(db: Database, two: tuple[Job, Job]) -> None:
    ours, theirs = two
    with db.write("ours") as s:
        changed = s.scalars(update(Job).values(step=7).returning(Job.id)).all()
        inner = select(Job.id).where(Job.step >= 0).subquery()
        assert list(s.scalars(select(inner.c.id))) == changed == [ours.id]
        s.execute(delete(Job))
    with db.read() as s:
        assert list(s.scalars(select(Job.id))) == [theirs.id]


def test_a_row_of_another_tenant_is_not_stored(db: Database, two: tuple[Job, Job]) -> None:
    with pytest.raises(AssertionError, match="theirs"), db.write("ours") as s:
        s.add(Job(tenant="theirs"))
        s.flush()


def test_two_tenants_may_use_the_same_data_set_name(db: Database, two: tuple[Job, Job]) -> None:
    info = BUILTIN_DATASETS["fashion-mnist-mini"].model_copy(update={"name": "shoes"})
    for tenant in ("ours", "theirs"):
        with db.write(tenant) as s:
            row = datasets.create_upload(s, f"ds_{tenant}", "shoes", None)
            assert datasets.claim(s, row.id, 60)
            datasets.mark_ready(s, row.id, 1, info, 1, {})
    with db.write() as s:
        tenants.get_or_create(s, "new")
    for tenant in ("ours", "theirs"):
        with db.read(tenant) as s:
            assert datasets.get(s, "shoes").id == f"ds_{tenant}"
            assert "fashion-mnist" in datasets.names(s) and datasets.names(s).count("shoes") == 1
    with db.read("new") as s, pytest.raises(DatasetNotFoundError):
        datasets.get(s, "ds_ours")
    job = submit(db, tenant="theirs", dataset="shoes")
    with db.read() as s:
        assert datasets.of_job(s, job).id == "ds_theirs", (
            "the worker sees all rows and takes the one of the job's tenant"
        )


def test_a_queue_position_counts_jobs_of_other_tenants(db: Database, two: tuple[Job, Job]) -> None:
    with db.read("theirs") as s:
        assert positions.find(s, [two[1]], 0)[two[1].id].ahead == 1


def test_every_table_with_a_tenant_or_a_job_is_limited() -> None:
    for mapper in Base.registry.mappers:
        columns = set(mapper.columns.keys())
        # Keys say who somebody is, and turns are read by claims, which go over all tenants.
        if mapper.class_ not in (ApiKey, TenantTurn) and "tenant" in columns:
            assert issubclass(mapper.class_, OfTenant), mapper
        if "job_id" in columns:
            assert issubclass(mapper.class_, OfJob), mapper
