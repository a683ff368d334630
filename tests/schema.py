"""Databases with the schema made: the migrations run once a test process and profile, and the result is copied.

The migrations themselves are tested in `tests/jobs/test_db.py`, which runs them.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gan.spec import BUILTIN_DATASETS
from jobs.db import Database, migrate
from jobs.runtime.settings import Settings
from jobs.store import datasets
from tests import servers


def copy_sqlite(settings: Settings) -> None:
    """Put a migrated SQLite file where `settings` have their database; as `migrate`, a tenth of a second faster."""
    assert not settings.database_url, "a copied file is the database of the embedded default alone"
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    target = settings.sqlite_file
    assert target is not None
    target.write_bytes(_migrated_sqlite(target.name))


@functools.cache
def _migrated_sqlite(name: str) -> bytes:
    """Return the bytes of a migrated database file that nobody has open: it has no write-ahead log beside it."""
    folder = Path(tempfile.mkdtemp(prefix="gantry-schema-"))
    try:
        _migrate(Settings(data_dir=folder))
        assert [path.name for path in folder.glob(f"{name}*")] == [name]
        return (folder / name).read_bytes()
    finally:
        shutil.rmtree(folder)


def _migrate(settings: Settings) -> None:
    """Migrate, and let every built-in data set count as installed, whatever this machine has."""
    migrate(settings)
    db = Database(settings.database)
    with db.write() as s:
        for name in BUILTIN_DATASETS:
            datasets.set_installed(s, name)
    db.dispose()


@contextmanager
def postgres_template(server_url: str) -> Iterator[str]:
    """Yield the name of a migrated database of that server, from which `servers.database` copies."""
    with servers.database(server_url) as url, tempfile.TemporaryDirectory(prefix="gantry-schema-") as folder:
        _migrate(Settings(data_dir=Path(folder), database_url=url))
        yield servers.name_of(url)
