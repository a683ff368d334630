"""A whole service of real processes that may be killed: a thread restarts those that have ended."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import httpx2

from jobs.db import Database, migrate
from jobs.runtime.process import kill, spawn
from jobs.runtime.settings import PREFIX, Settings
from tests.faults import servers
from tests.faults.processes import describe, of_service, signal_all
from tests.faults.proxy import Proxy
from tests.ports import free_port

Profile = Literal["embedded", "production"]
Role = Literal["api", "relay", "worker"]

LEASE_SECONDS: Final = 4.0
STALL_SECONDS: Final = 20.0
_START_SECONDS: Final = 120
_STOP_SECONDS: Final = 30
_TIMES: Final[dict[str, Any]] = {
    "lease_seconds": LEASE_SECONDS,
    "stall_seconds": STALL_SECONDS,
    "grace_seconds": 10,
    "poll_seconds": 0.1,
    "republish_seconds": 2,
    "trainer_threads": 1,
}
_MODULES: Final[dict[Role, str]] = {"api": "api", "relay": "jobs.relay", "worker": "worker"}


@dataclass
class Infrastructure:
    """The servers of a service: settings that lead through the proxies, and the direct URL of the database."""

    profile: Profile
    settings: Settings
    direct_url: str
    postgres: servers.FaultyServer | None = None
    broker: servers.FaultyServer | None = None
    database_proxy: Proxy | None = None
    broker_proxy: Proxy | None = None


@contextmanager
def infrastructure(profile: Profile, folder: Path) -> Iterator[Infrastructure]:
    """Start servers behind proxies and create the schema. Afterwards only the folder is left."""
    with ExitStack() as stack:
        made = _embedded(folder) if profile == "embedded" else _production(folder, stack)
        migrate(made.settings)
        yield made


def _embedded(folder: Path) -> Infrastructure:
    settings = Settings(data_dir=folder / "data", **_TIMES)
    return Infrastructure("embedded", settings, settings.database.render_as_string(hide_password=False))


def _production(folder: Path, stack: ExitStack) -> Infrastructure:
    postgres, broker = stack.enter_context(servers.postgres()), stack.enter_context(servers.broker())
    before = stack.enter_context(Proxy(postgres.port)), stack.enter_context(Proxy(broker.port))
    settings = Settings(
        data_dir=folder / "data",
        database_url=servers.postgres_url(before[0].port),
        broker_url=f"redis://127.0.0.1:{before[1].port}/0",
        **_TIMES,
    )
    direct = servers.postgres_url(postgres.port).replace("postgresql://", "postgresql+psycopg://")
    return Infrastructure("production", settings, direct, postgres, broker, *before)


@dataclass
class Member:
    """One process of the service, by name; None while it is down."""

    name: str
    role: Role
    settings: Settings
    process: subprocess.Popen[bytes] | None = None
    start_at: float = 0.0
    starts: int = field(default=0)

    @property
    def pid(self) -> int | None:
        """The process id; None while the process is down."""
        process = self.process
        return process.pid if process is not None and process.poll() is None else None


class Fleet:
    """APIs, relays and workers, each in its own session. They are restarted until the with block ends."""

    def __init__(
        self, on: Infrastructure, logs: Path, *, apis: int = 2, relays: int = 2, workers: int = 3, seed: int = 0
    ) -> None:
        self.infrastructure, self._logs = on, logs
        counts: dict[Role, int] = {"api": apis, "relay": relays, "worker": workers}
        self.members = [
            Member(f"{role}-{i}", role, on.settings.model_copy(update={"port": free_port()}))
            for role, count in counts.items()
            for i in range(count)
        ]
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._keeper = threading.Thread(target=self._keep_running, name="keeper")

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        self._keeper.start()
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._keeper.join()

    def of(self, role: Role) -> list[Member]:
        """Return the members of this role that are up."""
        return [member for member in self.members if member.role == role and member.pid is not None]

    @property
    def urls(self) -> list[str]:
        """The URLs of all APIs, also of those that are down."""
        return [f"http://127.0.0.1:{m.settings.port}" for m in self.members if m.role == "api"]

    def tail(self, length: int = 2000) -> str:
        """Return the last lines of every log."""
        return "\n".join(f"== {log.name}\n{log.read_text()[-length:]}" for log in sorted(self._logs.glob("*.log")))

    def _keep_running(self) -> None:
        # Children die with the thread that starts them, so this thread lives until all have ended.
        while not self._stop.wait(0.05):
            for member in self.members:
                self._restart_if_ended(member)
        self._end()

    def _restart_if_ended(self, member: Member) -> None:
        if member.process is not None and member.process.poll() is not None:
            member.process, member.start_at = None, time.monotonic() + self._random.uniform(0.1, 1.5)
        if member.process is None and time.monotonic() >= member.start_at:
            self._start(member)

    def _start(self, member: Member) -> None:
        # Without bytecode, each start would spend a second on compiling the same files.
        slow = {"PYTHONDONTWRITEBYTECODE"}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX) and name not in slow}
        # Results are bit-equal only on the CPU with the same number of threads.
        ours = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        environment = {**kept, **ours, **member.settings.environment()}
        with (self._logs / f"{member.name}.log").open("ab") as log:
            argv = [sys.executable, "-m", _MODULES[member.role]]
            member.process = spawn(argv, env=environment, stdout=log, stderr=log)
        member.starts += 1

    def _end(self) -> None:
        """Terminate all processes, workers first; kill those that do not end in time."""
        up = [m.process for m in reversed(self.members) if m.process is not None]
        for process in up:
            # A frozen process handles no other signal.
            signal_all([process.pid], signal.SIGCONT)
            process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for process in up:
            try:
                process.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                kill(process)
                process.wait()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        with httpx2.Client(timeout=10, trust_env=False) as http:
            while not self._is_ready(http):
                assert time.monotonic() < deadline, f"the service did not come up\n{self.tail()}"
                time.sleep(0.1)

    def _is_ready(self, http: httpx2.Client) -> bool:
        try:
            there = http.get(f"{self.urls[0]}/v1/workers").json()["data"]
            wanted = sum(member.role == "worker" for member in self.members)
            return len(there) >= wanted and all(http.get(f"{url}/readyz").is_success for url in self.urls)
        except (httpx2.TransportError, KeyError, ValueError):
            return False


def kill_remaining(settings: Settings, seconds: float) -> list[str]:
    """Return the processes of a service that still run `seconds` after it was stopped, and kill them."""
    deadline = time.monotonic() + seconds
    while (pids := of_service(settings.data_dir)) and time.monotonic() < deadline:
        time.sleep(0.1)
    found = [f"{pid} {describe(pid)}" for pid in pids]
    signal_all(pids, signal.SIGKILL)
    return found


def open_database(on: Infrastructure) -> Database:
    """Open the database without the proxy."""
    return Database(on.direct_url)
