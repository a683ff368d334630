"""Tests of the schema, the clock and the transactions."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import text

import migrations
from gan.spec import BUILTIN_DATASETS, from_record
from jobs import clock
from jobs.db import Database, migrate
from jobs.errors import DatabaseUnavailableError, MigrationsPendingError
from jobs.models import Base, Evaluation
from jobs.runtime.settings import Settings
from jobs.store import checkpoints, datasets, evaluations, jobs, metrics
from tests import servers
from tests.conftest import small_settings
from tests.jobs.helpers import VERSION_1


def test_migrations_create_the_schema_of_the_models(db: Database) -> None:
    def include(item: object, name: str | None, *_: object) -> bool:
        # SQLite reports neither the direction nor the expression of an index. tests/jobs/store/test_plans.py checks
        # that both are used.
        return db.dialect == "postgresql" or name not in ("ix_jobs_queued", "ix_jobs_published")

    with db.read() as s:
        context = MigrationContext.configure(s.connection(), opts={"compare_type": True, "include_object": include})
        assert compare_metadata(context, Base.metadata) == []


def test_migrating_twice_changes_nothing(db: Database, settings: Settings) -> None:
    with db.read() as s:
        before = [(row.id, row.name) for row in datasets.page(s, limit=50).data]
    migrate(settings)
    with db.read() as s:
        assert [(row.id, row.name) for row in datasets.page(s, limit=50).data] == before
    assert {name for _, name in before} == set(BUILTIN_DATASETS)


def _migrate(db: Database, *revisions: str) -> None:
    """Migrate an empty schema from one revision to the next."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with db.write() as s:
        config.attributes["connection"] = s.connection()
        for revision in revisions:
            (command.downgrade if revision == "base" else command.upgrade)(config, revision)


JOB = "job_01JD2M9Z8V3H4W5X6Y7Z8A9B0C"
FIRST_VERSIONS_ROWS = (
    "insert into jobs (id, labels, spec, dataset, preset, gpus, priority, max_attempts, status, attempt, crashes, "
    "not_before, step, total_steps, images_seen, latest_metrics, event_seq, created_at, finished_at) "
    "values (:job, '{}', :spec, 'fashion-mnist', 'dcgan', 0, 0, 3, 'succeeded', 1, 0, 0, 9, 9, 0, '{}', 1, 1, 2)",
    "insert into attempts (job_id, attempt, worker_id, device, started_at) values (:job, 1, 'w', 'cpu', 1)",
    "insert into job_events (job_id, seq, type, attempt, data, ends_job, at) "
    "values (:job, 1, 'job.status', 1, '{}', 1, 2)",
    "insert into checkpoints (id, job_id, attempt, step, metrics, state, is_best, key, bytes, sha256, weights_key, "
    "weights_bytes, weights_sha256, created_at) "
    "values ('ckpt_1', :job, 1, 9, '{}', 'ready', false, 'k', 1, 's', 'w', 1, 's', 1)",
)


def test_rows_of_the_first_version_survive_an_upgrade(db: Database, settings: Settings) -> None:
    _migrate(db, "base", "0001")
    with db.write() as s:
        for row in FIRST_VERSIONS_ROWS:
            s.execute(text(row), {"job": JOB, "spec": json.dumps(VERSION_1)} if ":spec" in row else {"job": JOB})
    migrate(settings)
    with db.write() as s:
        job = jobs.get(s, JOB)
        assert job.health["verdict"] == "unknown" and from_record(job.spec).optimizers.g.learning_rate == 0.0002
        assert [row.id for row in checkpoints.page(s, JOB, limit=5).data] == ["ckpt_1"]
        assert s.execute(text("select count(*) from job_events")).scalar_one() == 1
        identity = {"job_id": JOB, "step": 9, "attempt": 1, "created_at": 2.0}
        s.add(Evaluation(**identity, best_so_far=True, metrics={"fcd": 1.0}, details={}))
        checkpoints.mark_best(s, JOB, 9)
    with db.read() as s:
        assert checkpoints.choose(s, JOB, "best").id == "ckpt_1" and evaluations.best(s, JOB) == (9, 1)


def test_curves_of_an_older_version_survive_an_upgrade_in_few_blocks(db: Database, settings: Settings) -> None:
    _migrate(db, "base", "0003")
    ticks = [(1, first, 30) for first in range(1, 9001, 30)] + [(1, 9101, 5), (2, 9106, 5)]
    with db.write() as s:
        s.execute(text(FIRST_VERSIONS_ROWS[0]), {"job": JOB, "spec": json.dumps(VERSION_1)})
        for attempt, first, count in ticks:
            values = np.arange(first, first + count, dtype="<f4")
            values[values == 9102] = np.nan
            row = {"job": JOB, "attempt": attempt, "first": first, "last": first + count - 1, "v": values.tobytes()}
            s.execute(text("insert into metric_blocks values (:job, 'loss_d', :attempt, :first, :last, :v)"), row)
    migrate(settings)
    with db.read() as s:
        curve = metrics.series(s, JOB, ["loss_d"])["loss_d"]
        (summary,) = metrics.summaries(s, JOB)
        assert s.execute(text("select count(*) from metric_blocks")).scalar_one() == 4
    steps = [*range(1, 9001), *range(9101, 9111)]
    assert curve.steps.tolist() == steps
    np.testing.assert_array_equal(curve.values, [np.nan if step == 9102 else step for step in steps])
    assert (summary.last, summary.min, summary.max, summary.count, summary.nonfinite_count) == (
        9110,
        1,
        9110,
        9010,
        1,
    )


def test_check_reports_a_pending_migration(db: Database) -> None:
    db.check()
    with db.write() as s:
        s.execute(text("update alembic_version set version_num = '0000'"))
    with pytest.raises(MigrationsPendingError, match="gantry migrate"):
        db.check()


def test_a_database_without_tables_reports_how_to_create_them(postgres_server: str, tmp_path: Path) -> None:
    with servers.database(postgres_server) as url:
        for empty in (small_settings(tmp_path, database_url=url), small_settings(tmp_path)):
            empty.data_dir.mkdir(exist_ok=True)
            database = Database(empty.database)
            with pytest.raises(MigrationsPendingError, match="gantry migrate"), database.read() as s:
                datasets.names(s)
            database.dispose()


def test_the_error_of_an_unreachable_database_contains_no_password() -> None:
    database = Database("postgresql+psycopg://someone:secret@127.0.0.1:9/none")
    with pytest.raises(DatabaseUnavailableError) as caught:
        database.check()
    assert "secret" not in str(caught.value)


def test_the_database_clock_advances_within_a_transaction(db: Database) -> None:
    with db.read() as s:
        first = clock.read(s)
        time.sleep(0.05)
        second = clock.read(s)
    assert 0.04 < second - first < 60
    assert abs(first - time.time()) < 60


def test_a_write_that_raises_is_rolled_back(db: Database) -> None:
    with pytest.raises(RuntimeError), db.write() as s:
        s.execute(text("delete from datasets"))
        raise RuntimeError
    with db.read() as s:
        assert datasets.names(s) == sorted(BUILTIN_DATASETS)


def test_changes_in_a_read_are_discarded(db: Database) -> None:
    with db.read() as s:
        s.execute(text("delete from datasets"))
    with db.read() as s:
        assert datasets.names(s) == sorted(BUILTIN_DATASETS)


def test_files_from_before_tenants_move_to_the_default_tenant(tmp_path: Path) -> None:
    settings = small_settings(tmp_path)
    for folder in (settings.data_dir / "artifacts" / "job_x", settings.data_dir / "datasets" / "ds_x"):
        folder.mkdir(parents=True)
        (folder / "file").write_text("kept")
    for _ in range(2):
        migrate(settings)
    assert (settings.data_dir / "artifacts" / "default" / "job_x" / "file").read_text() == "kept"
    assert (settings.data_dir / "datasets" / "default" / "ds_x" / "file").read_text() == "kept"
