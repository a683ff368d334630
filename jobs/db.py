"""Access to the database: one engine per process, transactions as `with` blocks, and the schema's version."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from gan.spec import BUILTIN_DATASETS, why_not_installed
from jobs import tenancy
from jobs.errors import DatabaseUnavailableError, MigrationsPendingError
from jobs.models import DEFAULT_TENANT
from jobs.runtime.settings import Settings
from jobs.storage import open_storage
from jobs.store import datasets

__all__ = ["Database", "Dialect", "Session", "migrate"]

Dialect = Literal["sqlite", "postgresql"]

_MIGRATIONS: Final = Path(__file__).parent.parent / "migrations"
_BUSY_SECONDS: Final = 30
_UNDEFINED_TABLE: Final = "42P01"
# A network that drops packets silently is noticed after 15 s. The kernel's default is about a quarter of an hour.
_POSTGRES_SOCKET: Final[dict[str, int]] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,
}
_POSTGRES_OPTIONS: Final = (
    "-c statement_timeout=10s -c lock_timeout=5s -c idle_in_transaction_session_timeout=30s -c timezone=utc"
)


class Database:
    """The database connections of one process. `write()` and `read()` are the only ways to get a session.

    A session that is opened for a tenant sees and changes only that tenant's rows (`jobs.tenancy`). A session without
    a tenant sees all rows; the worker and the relay use it.

    A statement on PostgreSQL is stopped after 10 s, unless `statement_timeout` is False: a migration may need longer.
    """

    def __init__(self, url: URL | str, *, statement_timeout: bool = True) -> None:
        self._engine = _engine(make_url(url), statement_timeout)
        self.dialect: Dialect = "sqlite" if self._engine.dialect.name == "sqlite" else "postgresql"

    @contextmanager
    def write(self, tenant: str | None = None) -> Iterator[Session]:
        """Open one write transaction. It commits when the block ends and rolls back when the block raises.

        SQLite begins it IMMEDIATE, so that two writers wait for each other instead of failing at the first write.
        Raises `DatabaseUnavailableError` when the database cannot be reached or aborts the transaction.
        """
        with self._session(tenant, begin="BEGIN IMMEDIATE") as s:
            yield s
            s.commit()

    @contextmanager
    def read(self, tenant: str | None = None) -> Iterator[Session]:
        """Open one read transaction. Its changes are discarded. Raises `DatabaseUnavailableError`."""
        with self._session(tenant, begin="BEGIN") as s:
            yield s

    def check(self) -> None:
        """Raise an error when the database cannot be used.

        Raises `DatabaseUnavailableError`, or `MigrationsPendingError` when the schema has another version than this
        code.
        """
        # Imported only here and in `migrate`: the import takes a good part of a second, which would delay a trainer.
        from alembic.migration import MigrationContext  # noqa: PLC0415
        from alembic.script import ScriptDirectory  # noqa: PLC0415

        with self.read() as s:
            current = MigrationContext.configure(s.connection()).get_current_revision()
        newest = ScriptDirectory(str(_MIGRATIONS)).get_current_head()
        if current != newest:
            raise MigrationsPendingError(
                f"The database schema is at version {current or 'none'}, but this code needs {newest}. "
                "Run `gantry migrate`."
            )

    def dispose(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def _session(self, tenant: str | None, begin: str) -> Iterator[Session]:
        try:
            with (
                self._engine.connect().execution_options(gantry_begin=begin) as connection,
                tenancy.open_session(connection, tenant) as s,
            ):
                yield s
        except (OperationalError, InterfaceError, PoolTimeout) as error:
            if "no such table" in str(error):
                raise MigrationsPendingError("The database has no tables yet. Run `gantry migrate`.") from error
            raise DatabaseUnavailableError(f"The database does not respond: {_reason(error)}.") from error
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == _UNDEFINED_TABLE:
                raise MigrationsPendingError("The database has no tables yet. Run `gantry migrate`.") from error
            if not error.connection_invalidated:
                raise
            raise DatabaseUnavailableError("The connection to the database was lost.") from error


def migrate(settings: Settings) -> None:
    """Upgrade the schema to this code's version and register the built-in data sets. Safe to repeat."""
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    if not settings.database_url:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    config = Config()
    # The options are a template, in which a single % begins a name.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    database = Database(settings.database, statement_timeout=False)
    try:
        with database.write() as s:
            config.attributes["connection"] = s.connection()
            command.upgrade(config, "head")
            for info in BUILTIN_DATASETS.values():
                datasets.register(s, info, why_not_installed(info.name))
        open_storage(settings).upgrade(DEFAULT_TENANT)
    finally:
        database.dispose()


def check_installed(settings: Settings) -> None:
    """Record which built-in data sets this machine has. For a service whose workers all run on it."""
    database = Database(settings.database)
    try:
        with database.write() as s:
            for name in BUILTIN_DATASETS:
                datasets.set_installed(s, name, why_not_installed(name))
    finally:
        database.dispose()


def _engine(url: URL, statement_timeout: bool) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})
        event.listen(engine, "connect", _sqlite_pragmas)
        event.listen(engine, "begin", _sqlite_begin)
        return engine
    return create_engine(
        url,
        pool_pre_ping=True,
        pool_size=10,
        max_overflow=20,
        pool_timeout=5,
        connect_args={**_POSTGRES_SOCKET, "options": _POSTGRES_OPTIONS if statement_timeout else "-c timezone=utc"},
    )


def _sqlite_pragmas(connection: sqlite3.Connection, record: object) -> None:
    # Switch off the driver's implicit BEGIN: `_sqlite_begin` sends it.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_SECONDS * 1000}"):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("gantry_begin", "BEGIN"))


def _reason(error: Any) -> str:
    """Return the first line of the driver's message. The URL is left out, because it may hold a password."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0][:200].rstrip(".")
