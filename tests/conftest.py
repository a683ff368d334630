"""The two profiles that everything runs on: SQLite with files, and PostgreSQL with Redis or Valkey."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from jobs.db import Database
from jobs.runtime.settings import PREFIX, Settings
from tests import schema, servers

# Two busy cores and several trainers: one thread each is the fastest there is.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The suite promises bits, which hold on the processor alone; what needs a GPU has a target of its own.
os.environ["CUDA_VISIBLE_DEVICES"] = ""
# Who starts us in the background has us ignore what Ctrl-C sends, and with us every process that we start.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Hundreds of processes are started: each would compile the whole house anew, which takes a second or more.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# However long the machine stands still in the midst of an example.
hypothesis_settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("unhurried")
for name in [name for name in os.environ if name.startswith(PREFIX)]:
    del os.environ[name]
# Modules and tests make a million objects, of which nearly none is garbage: `pytest_collection_finish`.
gc.disable()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give the tests that share a module's fixture to one process of pytest-xdist, which then sets it up once.

    Such groups are also started first, so that no long one is left for the end.
    """
    assert isinstance(item, pytest.Function)
    shared = (found[-1].scope == "module" for found in item._fixtureinfo.name2fixturedefs.values())
    if any(shared) and item.get_closest_marker("xdist_group") is None:
        item.add_marker(pytest.mark.xdist_group(item.path.stem + " of " + item.path.parent.name))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long tests, which have a timeout of their own, before the others: none is left for the end."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


def pytest_collection_finish() -> None:
    """Take all that was imported out of the garbage collector's sight: each full collection took half a second.

    NiceGUI's simulation of a user asks for two or more of them a test.
    """
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Yield a PostgreSQL server, one for each test process."""
    with servers.postgres() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """Return the name of a migrated database of that server, as a template for copies."""
    with schema.postgres_template(postgres_server) as name:
        yield name


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[str]:
    """Yield a Redis or Valkey server, one for each test process."""
    with servers.valkey() as url:
        yield url


PROFILES = ("sqlite", pytest.param("postgres", marks=pytest.mark.postgres))


@pytest.fixture(params=PROFILES)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Yield settings of a new service with a migrated database, on each of the two profiles."""
    with settings_of(request.param, tmp_path, request) as made:
        yield made


@contextmanager
def settings_of(profile: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Yield settings of a new service with a migrated database on that profile."""
    with ExitStack() as stack:
        urls: dict[str, str] = {}
        if profile == "postgres":
            server, template = (request.getfixturevalue(name) for name in ("postgres_server", "postgres_template"))
            urls["database_url"] = stack.enter_context(servers.database(server, template))
            urls["broker_url"] = request.getfixturevalue("valkey_server")
        made = small_settings(folder, **urls)
        if profile == "sqlite":
            schema.copy_sqlite(made)
        yield made


@pytest.fixture
def sqlite_settings(tmp_path: Path) -> Settings:
    """Return settings of a new service on SQLite only."""
    made = small_settings(tmp_path)
    schema.copy_sqlite(made)
    return made


@pytest.fixture
def db(settings: Settings) -> Iterator[Database]:
    """Yield the database of `settings`."""
    database = Database(settings.database)
    yield database
    database.dispose()


def small_settings(folder: Path, **values: object) -> Settings:
    """Return settings with short times, so that a test need not wait, and one thread for each trainer.

    The lease is long: a busy machine may stand still for seconds, and a worker must not lose its job then.
    """
    quick = {
        "lease_seconds": 30,
        "poll_seconds": 0.1,
        "republish_seconds": 2,
        "grace_seconds": 20,
        "trainer_threads": 1,
    }
    return Settings(data_dir=folder / "data", **{**quick, **values})  # type: ignore[arg-type]
