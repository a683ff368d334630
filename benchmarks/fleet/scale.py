"""`python -m benchmarks.fleet.scale`: what workers, clients and the relay do often, by the length of the queue.

On a real PostgreSQL, with 1,000 workers of which 900 run a job, and with one tenant and with 1,000. The code is the
service's own: the same store and lease functions in the same transactions; no torch, no HTTP. Each figure is taken in
turn on the databases of all lengths, so that other work on the machine slows all of them alike. What counts is the
ratio of the longest queue to the shortest. At the end many workers claim at once, and every job is counted.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import GOAL_MISSED
from benchmarks.filled import DATASET
from benchmarks.fleet import queued
from gan.spec import resolve
from jobs import leases
from jobs.db import Database, Session, migrate
from jobs.relay import sweeper
from jobs.runtime import logs
from jobs.runtime.settings import Settings
from jobs.status import Status
from jobs.store import datasets, jobs, outbox, positions, workers
from jobs.store.queue_limit import QueueLimit
from tests import servers

RATIO_LIMIT: Final = 1.5
_IDLE: Final = f"wrk_{queued.WORKERS:04}"
_LEASE_SECONDS: Final = 3600.0
"""Nothing expires while the measurement lasts."""
_REPUBLISH_SECONDS: Final = 30.0
_QUEUE_LIMIT: Final = 10_000_000


@dataclass(frozen=True)
class Extent:
    """How much is measured."""

    lengths: tuple[int, ...] = (1_000, 100_000, 1_000_000)
    tenants: tuple[int, ...] = (1, 1_000)
    rounds: int = 200
    claimers: int = 16
    claims: int = 400


@dataclass(frozen=True)
class Row:
    """One figure, for every length of the queue: milliseconds of each repetition."""

    name: str
    tenants: int
    taken: Mapping[int, Sequence[float]]

    def at(self, length: int, share: int) -> float:
        """Return a percentile, ms."""
        ordered = sorted(self.taken[length])
        return ordered[min(len(ordered) - 1, len(ordered) * share // 100)]

    def ratio(self, share: int) -> float:
        """Return the percentile of the longest queue, divided by that of the shortest."""
        return self.at(max(self.taken), share) / self.at(min(self.taken), share)

    def __str__(self) -> str:
        cells = [f"{self.at(length, 50):.1f} / {self.at(length, 99):.1f}" for length in sorted(self.taken)]
        return line(self.name, str(self.tenants), cells, f"{self.ratio(50):.2f}", f"{self.ratio(99):.2f}")


def line(name: str, tenants: str, cells: Sequence[str], *ratios: str) -> str:
    """Return a line of the table."""
    wide, narrow = ("".join(f"{cell:>{width}}" for cell in some) for some, width in ((cells, 17), (ratios, 7)))
    return f"{name:<27}{tenants:>8}{wide}{narrow}"


class LostOrDoubledError(Exception):
    """After concurrent claims, a job is missing or was given to two workers."""


class Fleet:
    """A filled database, and what the service does with it."""

    def __init__(self, settings: Settings, url: str, length: int, tenants: int) -> None:
        self.settings = settings
        self.db = Database(settings.database)
        queued.fill(self.db, url, length, tenants)
        self._limit = QueueLimit(_QUEUE_LIMIT)
        self._tenants = [f"t{number:05}" for number in range(tenants)]
        # Claims begin at the other end of the queue.
        self._waiting = range(queued.BUSY + length * 3 // 10, queued.BUSY + length + 1)
        self._rng = random.Random(0)  # noqa: S311

    @property
    def actions(self) -> dict[str, Callable[[], object]]:
        """What is measured, by name."""
        return {
            "claim": self.claim,
            "beat of a running job": self._beat,
            "poll of a queued job": self._poll,
            "sweep": lambda: sweeper.sweep_once(self.db, self.settings),
            "republish 100 hints": self._republish,
            "submit": self._submit,
            "list of 50 jobs": self._list,
        }

    def claim(self, worker: str = _IDLE) -> str | None:
        """Claim a job as a worker does; return its id."""
        with self.db.write() as s:
            assert not workers.is_draining(s, worker)
            job = leases.claim(s, worker, "cpu", 0, _LEASE_SECONDS)
            if job is not None:
                workers.set_current_job(s, worker, job.id)
            return None if job is None else job.id

    def finish(self, job_id: str) -> None:
        """End the first attempt of a job."""
        with self.db.write() as s:
            leases.finish(s, job_id, 1, Status.SUCCEEDED)

    def _beat(self) -> None:
        number = self._rng.randrange(1, queued.BUSY + 1)
        with self.db.write() as s:
            leases.fence(s, f"job_{number:026}", 1, _LEASE_SECONDS, step=number)

    def _poll(self) -> None:
        self.poll(self._rng.choice(self._waiting))

    def poll(self, number: int) -> None:
        """Read the state of the job with this number, as a poll of a client does."""
        job_id = f"job_{number:026}"
        with self.db.read() as s:
            jobs.row_versions(s, [job_id])
            self._show(s, list(jobs.fetch_details(s, [job_id]).values()))

    def _show(self, s: Session, found: Sequence[jobs.JobDetails]) -> None:
        positions.find(s, [each.row for each in found], workers.most_gpus(s, _LEASE_SECONDS))

    def _republish(self) -> None:
        with self.db.write() as s:
            # The sweeps have left a hint for each idle worker, which nobody sends.
            written = outbox.republish(s, _REPUBLISH_SECONDS, queued.WORKERS - queued.BUSY + 100)
            assert written
            s.rollback()

    def _submit(self) -> None:
        with self.db.write(self._rng.choice(self._tenants)) as s:
            self._limit.admit(s)
            info = datasets.info(datasets.get(s, DATASET))
            job = jobs.create(s, resolve({"dataset": DATASET}), info)
            self._show(s, list(jobs.fetch_details(s, [job.id]).values()))

    def _list(self) -> None:
        with self.db.read(self._tenants[0]) as s:
            found = jobs.page(s, limit=queued.PAGE).data
            assert len(found) == queued.PAGE
            self._show(s, found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every figure. Returns 0 if each ratio of medians is within the goal, else `GOAL_MISSED`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet.scale", description=__doc__)
    usual = Extent()
    parser.add_argument("--lengths", type=int, nargs="+", default=usual.lengths)
    parser.add_argument("--tenants", type=int, nargs="+", default=usual.tenants)
    for name in ("rounds", "claimers", "claims"):
        parser.add_argument(f"--{name}", type=int, default=getattr(usual, name))
    asked = vars(parser.parse_args(arguments))
    extent = Extent(**{**asked, "lengths": tuple(asked["lengths"]), "tenants": tuple(asked["tenants"])})
    missed = False
    print("ms, p50 / p99, by the number of queued jobs")
    print(line("", "tenants", [f"{length:,}" for length in extent.lengths], "p50 x", "p99 x"))
    with servers.postgres() as server:
        for tenants in extent.tenants:
            with fleets(server, extent.lengths, tenants) as made:
                for row in measure(made, tenants, extent.rounds):
                    print(row, flush=True)
                    missed |= row.ratio(50) > RATIO_LIMIT
                print(claim_at_once(made, tenants, extent), flush=True)
    print(f"goal: every ratio of medians at most {RATIO_LIMIT}: {'missed' if missed else 'met'}")
    return GOAL_MISSED * missed


@contextmanager
def fleets(
    server: str, lengths: Sequence[int], tenants: int, template: str = "template1"
) -> Iterator[dict[int, Fleet]]:
    """Yield a filled database of that PostgreSQL server for each length of the queue, each a copy of `template`."""
    with ExitStack() as stack:
        made = {}
        for length in lengths:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            url = stack.enter_context(servers.database(server, template))
            settings = Settings(
                data_dir=Path(folder), database_url=url, lease_seconds=_LEASE_SECONDS, log_level="warning"
            )
            logs.setup(settings, "scale")
            migrate(settings)
            made[length] = Fleet(settings, url, length, tenants)
            stack.callback(made[length].db.dispose)
        yield made


def measure(made: Mapping[int, Fleet], tenants: int, rounds: int) -> Iterator[Row]:
    """Yield every figure."""
    names = list(next(iter(made.values())).actions)
    for name in names:
        actions = {length: fleet.actions[name] for length, fleet in made.items()}
        taken: dict[int, list[float]] = {length: [] for length in made}
        for number in range(-3, rounds):
            in_turn = list(actions) if number % 2 else list(actions)[::-1]
            for length in in_turn:
                begun = time.perf_counter()
                actions[length]()
                if number >= 0:
                    taken[length].append(1000 * (time.perf_counter() - begun))
        yield Row(name, tenants, taken)


def claim_at_once(made: Mapping[int, Fleet], tenants: int, extent: Extent) -> str:
    """Let many workers claim at once in each database; return the rates. Raises `LostOrDoubledError`."""
    rows, rates = {}, []
    for length, fleet in made.items():
        before = statuses(fleet)
        begun = time.perf_counter()
        claimed, rows[length] = _claim_all(fleet, extent)
        rates.append(extent.claims / (time.perf_counter() - begun))
        check(fleet, before, claimed, extent.claims)
    row = Row(f"claim and end, {extent.claimers} at once", tenants, rows)
    per_second = ", ".join(f"{rate:.0f}" for rate in rates)
    return f"{row}\n  {per_second} a second; of {extent.claims} claims in each database none was lost or doubled"


def _claim_all(fleet: Fleet, extent: Extent) -> tuple[list[str], list[float]]:
    claimed: list[str] = []
    taken: list[float] = []
    left = iter(range(extent.claims))
    lock = threading.Lock()

    def work(worker: str) -> None:
        while True:
            with lock:
                if next(left, None) is None:
                    return
            begun = time.perf_counter()
            job_id = fleet.claim(worker)
            taken.append(1000 * (time.perf_counter() - begun))
            if job_id is None:
                raise LostOrDoubledError(f"{worker} found no job, although many wait.")
            claimed.append(job_id)
            # Every second one ends, so that some tenants run more jobs than others.
            if len(claimed) % 2:
                fleet.finish(job_id)

    names = [f"wrk_{queued.BUSY + number + 1:04}" for number in range(extent.claimers)]
    with ThreadPoolExecutor(len(names)) as pool:
        for done in [pool.submit(work, name) for name in names]:
            done.result()
    return claimed, taken


def statuses(fleet: Fleet) -> Counter[str]:
    """Return the number of jobs of each status."""
    with fleet.db.read() as s:
        return Counter(jobs.count_by_status(s))


def check(fleet: Fleet, before: Counter[str], claimed: Sequence[str], claims: int) -> None:
    """Raise `LostOrDoubledError` unless every claim has given a different job to one worker for one attempt."""
    after = statuses(fleet)
    with fleet.db.read() as s:
        rows = [jobs.get(s, job_id) for job_id in claimed]
    problems = [
        (len(claimed) != claims, f"{len(claimed)} of {claims} claims gave a job"),
        (len(set(claimed)) != len(claimed), "a job was given to two workers"),
        (after.total() != before.total(), f"{before.total()} jobs became {after.total()}"),
        (before["queued"] - after["queued"] != claims, f"{before['queued'] - after['queued']} jobs left the queue"),
        (any(row.attempt != 1 for row in rows), "a job had more than one attempt"),
    ]
    if found := [text for is_wrong, text in problems if is_wrong]:
        raise LostOrDoubledError(f"After {claims} concurrent claims: {'; '.join(found)}.")


if __name__ == "__main__":
    sys.exit(main())
