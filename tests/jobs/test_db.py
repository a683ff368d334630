"""The schema, the clock and the transactions, on both databases."""

import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from gan.spec import BUILTIN_DATASETS
from jobs import clock
from jobs.db import Database, migrate
from jobs.errors import DatabaseUnavailable, MigrationsPending
from jobs.models import Base
from jobs.settings import Settings
from jobs.store import datasets
from tests import servers
from tests.conftest import small_settings


def test_migrations_make_what_the_models_say(db: Database) -> None:
    with db.read() as s:
        context = MigrationContext.configure(s.connection(), opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_migrating_twice_changes_nothing(db: Database, settings: Settings) -> None:
    with db.read() as s:
        before = [(row.id, row.name) for row in datasets.page(s, limit=50).data]
    migrate(settings)
    with db.read() as s:
        assert [(row.id, row.name) for row in datasets.page(s, limit=50).data] == before
    assert {name for _, name in before} == set(BUILTIN_DATASETS)


def test_check_names_what_is_missing(db: Database) -> None:
    db.check()
    with db.write() as s:
        s.execute(text("update alembic_version set version_num = '0000'"))
    with pytest.raises(MigrationsPending, match="gantry migrate"):
        db.check()


def test_a_database_without_tables_says_how_to_make_them(postgres_server: str, tmp_path: Path) -> None:
    with servers.database(postgres_server) as url:
        for empty in (small_settings(tmp_path, database_url=url), small_settings(tmp_path)):
            empty.data_dir.mkdir(exist_ok=True)
            database = Database(empty.database)
            with pytest.raises(MigrationsPending, match="gantry migrate"), database.read() as s:
                datasets.names(s)
            database.dispose()


def test_an_unreachable_database_has_a_name_and_no_password_in_its_message() -> None:
    database = Database("postgresql+psycopg://someone:secret@127.0.0.1:9/none")
    with pytest.raises(DatabaseUnavailable) as caught:
        database.check()
    assert "secret" not in str(caught.value)


def test_the_clock_is_the_databases_and_moves_within_a_transaction(db: Database) -> None:
    with db.read() as s:
        first = clock.read(s)
        time.sleep(0.05)
        second = clock.read(s)
    assert 0.04 < second - first < 5
    assert abs(first - time.time()) < 5


def test_a_block_that_raises_leaves_no_trace(db: Database) -> None:
    with pytest.raises(RuntimeError), db.write() as s:
        s.execute(text("delete from datasets"))
        raise RuntimeError
    with db.read() as s:
        assert datasets.names(s) == sorted(BUILTIN_DATASETS)


def test_what_a_read_changes_is_thrown_away(db: Database) -> None:
    with db.read() as s:
        s.execute(text("delete from datasets"))
    with db.read() as s:
        assert datasets.names(s) == sorted(BUILTIN_DATASETS)
