"""`python -m benchmarks.api_load`: what the API answers under load, on SQLite and, where one is given, on PostgreSQL.

(a) The status poll of many clients at once, beside the service's own /healthz, which looks nothing up, and beside one
bare route of the same framework on an equal server process of this machine, in alternating turns. (b) A curve of a
million points, thinned to a thousand. (c) A page of a list of 100,000 jobs. The service is the real one, in a process
of its own, and is asked over HTTP.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import GOAL_MISSED, filled
from benchmarks.clients import latencies
from gantry.client import ApiError, Client, UnreachableError
from gantry.local.ports import free_port
from jobs.db import Database, migrate
from jobs.runtime.process import end, spawn
from jobs.runtime.settings import Settings

POLL_LIMIT: Final = 3.0
SERIES_LIMIT_MS: Final = 150.0
POSTGRES: Final = "BENCH_POSTGRES_URL"
_POLLED: Final = 50
_LEASE_SECONDS: Final = 3600.0
_STARTING_SECONDS: Final = 120
_WARM_UP_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Load:
    """How much load, for how long."""

    rounds: int = 5
    seconds: float = 4.0
    clients: int = 200
    jobs_training: int = 0
    points: int = 1_000_000
    tick: int = 1000
    jobs: int = 100_000
    repeats: int = 15


@dataclass(frozen=True)
class Figure:
    """A figure that was measured several times."""

    name: str
    database: str
    unit: str
    values: tuple[float, ...]
    limit: float | None = None

    def __str__(self) -> str:
        low, high = min(self.values), max(self.values)
        limit = f"  goal <= {self.limit:g}" if self.limit is not None else ""
        spread = f"{median(self.values):9.2f} {self.unit:<5} ({low:.2f} to {high:.2f}, {len(self.values)} times)"
        return f"{self.database:<11} {self.name:<52} {spread}{limit}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every figure. Returns 0 if every figure with a goal meets it, else `GOAL_MISSED`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.api_load", description=__doc__)
    usual = Load()
    for name, value in vars(usual).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument(
        "--postgres", default=os.environ.get(POSTGRES), help=f"URL of an empty PostgreSQL database; else ${POSTGRES}"
    )
    asked = vars(parser.parse_args(arguments))
    postgres = asked.pop("postgres")
    figures = []
    for figure in measure(Load(**asked), postgres):
        print(figure, flush=True)
        figures.append(figure)
    return GOAL_MISSED * any(f.limit is not None and median(f.values) > f.limit for f in figures)


def measure(load: Load, postgres: str | None = None) -> Iterator[Figure]:
    """Yield every figure as it is measured: on SQLite, then on the empty PostgreSQL database of that URL."""
    for url in [None, postgres] if postgres else [None]:
        with tempfile.TemporaryDirectory() as folder:
            yield from _measure(load, Path(folder), url)


def _measure(load: Load, folder: Path, url: str | None) -> Iterator[Figure]:
    settings = Settings(data_dir=folder / "data", database_url=url or "", port=free_port(), trainer_threads=1)
    migrate(settings)
    db = Database(settings.database)
    polled = filled.running(db, _POLLED, _LEASE_SECONDS)
    with ExitStack() as stack:
        client = stack.enter_context(_service(settings, folder))
        bare = stack.enter_context(_bare())
        if load.jobs_training:
            stack.enter_context(_training(settings, client, load.jobs_training))
        yield from _polls(load, db.dialect, settings.port, bare, [f"/v1/jobs/{job_id}" for job_id in polled])
    with _service(settings, folder) as client:
        filled.curves(db, polled[0], ["loss_d", "loss_g"], load.points, load.tick)
        yield from _series(load, db.dialect, settings.port, polled[0])
        filled.ended(db, load.jobs)
        yield from _lists(load, db.dialect, settings.port, _far_back(client))
    db.dispose()


def _polls(load: Load, database: str, port: int, bare: int, paths: list[str]) -> Iterator[Figure]:
    asked = {"bare route": (bare, ["/ping"]), "/healthz": (port, ["/healthz"]), "status poll": (port, paths)}
    found: dict[tuple[str, int], list[float]] = {(name, share): [] for name in asked for share in (50, 99)}
    for turn in range(load.rounds):
        for name in list(asked) if turn % 2 == 0 else list(asked)[::-1]:
            latencies(*asked[name], load.clients, _WARM_UP_SECONDS)
            taken = sorted(latencies(*asked[name], load.clients, load.seconds))
            for share in (50, 99):
                found[name, share].append(1000 * taken[len(taken) * share // 100])
    training = f", {load.jobs_training} training" if load.jobs_training else ""
    for (name, share), values in found.items():
        yield Figure(f"{name}, {load.clients} clients{training}, p{share}", database, "ms", tuple(values))
    for share, limit in ((50, None), (99, POLL_LIMIT)):
        for other in ("/healthz", "bare route"):
            ratios = tuple(x / y for x, y in zip(found["status poll", share], found[other, share], strict=True))
            # The goal is held against the harder of the two.
            goal = limit if other == "bare route" else None
            yield Figure(f"status poll / {other}, p{share}", database, "x", ratios, goal)


def _series(load: Load, database: str, port: int, job_id: str) -> Iterator[Figure]:
    path, ticks = f"/v1/jobs/{job_id}/metrics", f"ticks of {load.tick}"
    thin, sums = f"{path}/series?names=loss_d&max_points=1000", path
    taken = _timed(port, thin, load.repeats)
    yield Figure(f"{load.points:,} points to 1,000, {ticks}", database, "ms", taken, SERIES_LIMIT_MS)
    yield Figure(f"summaries of two such curves, {ticks}", database, "ms", _timed(port, sums, load.repeats))


def _lists(load: Load, database: str, port: int, far_back: str) -> Iterator[Figure]:
    kinds = {
        "": "",
        ", far back": far_back,
        ", of one status": "&status=failed",
        ", of several": "&status=failed,succeeded,cancelled",
        ", of a data set": f"&dataset={filled.DATASET}",
        ", one in a hundred by label": f"&label={filled.LABEL}",
        ", none by label": "&label=team:nobody",
    }
    for name, query in kinds.items():
        taken = _timed(port, f"/v1/jobs?limit=50{query}", load.repeats)
        yield Figure(f"50 of {load.jobs:,} jobs{name}", database, "ms", taken)


def _far_back(client: Client) -> str:
    """Return the query for a page deep in the list, or for the first page of a short list."""
    query: dict[str, str] = {}
    for _ in range(20):
        cursor = client.jobs(limit=200, **query)["next_cursor"]
        query = {"cursor": cursor} if cursor else query
    return "".join(f"&cursor={cursor}" for cursor in query.values())


def _timed(port: int, path: str, repeats: int) -> tuple[float, ...]:
    """Return the time of each response in ms, after one request that warms the service up."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    taken = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        taken.append(1000 * (time.perf_counter() - began))
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {body[:500]!r}")
    connection.close()
    return tuple(taken[1:])


@contextmanager
def _service(settings: Settings, folder: Path) -> Iterator[Client]:
    """Start `python -m api` and yield a client once it is ready."""
    with _process(["api"], settings, folder / "api.log") as server, Client(_url(settings.port)) as client:
        _wait(client.ready, server)
        yield client


@contextmanager
def _bare() -> Iterator[int]:
    """Start the server with the bare route and yield its port."""
    port = free_port()
    server = spawn([sys.executable, "-m", "benchmarks.bare", str(port)], env=os.environ)
    try:
        _wait(lambda: socket.create_connection(("127.0.0.1", port)).close(), server)
        yield port
    finally:
        end(server, grace=10)


@contextmanager
def _training(settings: Settings, client: Client, count: int) -> Iterator[None]:
    """Start `count` workers, each with a job that outlasts the measurement."""
    folder = settings.data_dir
    with ExitStack() as stack:
        stack.enter_context(_process(["jobs.relay"], settings, folder / "relay.log"))
        for number in range(count):
            stack.enter_context(_process(["worker"], settings, folder / f"worker-{number}.log"))
        body = {"dataset": filled.DATASET, "preset": "goodfellow2014", "total_steps": 1_000_000}
        ids = [client.submit(body)["id"] for _ in range(count)]
        deadline = time.monotonic() + _STARTING_SECONDS
        while any(not client.job(job_id)["progress"]["step"] for job_id in ids):
            if time.monotonic() > deadline:
                raise SystemExit("The jobs did not start.")
            time.sleep(0.5)
        yield


@contextmanager
def _process(module: list[str], settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, **settings.environment()}
    with log.open("wb") as output:
        process = spawn([sys.executable, "-m", *module], env=environment, stdout=output, stderr=output)
    try:
        yield process
    finally:
        end(process, grace=60)


def _wait(answers: Callable[[], object], server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _STARTING_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            answers()
            return
        except (UnreachableError, ApiError, OSError):
            time.sleep(0.2)
    raise SystemExit("A server did not start.")


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


if __name__ == "__main__":
    sys.exit(main())
