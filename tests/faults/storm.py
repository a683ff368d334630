"""A storm: submit jobs, inject faults that a seed draws, and check the record afterwards."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from jobs.db import Database
from jobs.errors import UnavailableError
from jobs.models import Attempt, Job
from jobs.status import TERMINAL, Status
from tests.faults import fleet, history
from tests.faults.caller import LoadCaller, UnansweredError
from tests.faults.fleet import LEASE_SECONDS, Fleet, Profile
from tests.faults.history import ClientView, JobHistory
from tests.faults.injection import SHARED, TARGETED, StormContext, plan
from tests.faults.processes import TrainerHandle, is_frozen, trainers
from tests.faults.undisturbed import References
from tests.jobs.helpers import files_of
from tests.worker.helpers import tiny

_STUCK_SECONDS: Final = 150
"""Longer than the longest backoff after a crash: a service without progress for so long is stuck, s."""
_SWEEP_SECONDS: Final = 2 * LEASE_SECONDS + 10
"""The time after which the sweeper has deleted the files of killed and fenced attempts, s."""
_LOOK_SECONDS: Final = 0.1
_LATE_STEPS: Final = 0.9
"""The share of a job's steps after which it no longer counts as in mid-training."""
_LOG_SECONDS: Final = 20
_AIM_SECONDS: Final = 40
"""The longest wait of a fault for a trainer in mid-training, s."""
_MAX_CRASHES: Final = 6
"""The number of crashes after which a job gets no more faults: its next backoff would be a minute."""


@dataclass(frozen=True)
class StormPlan:
    """The size of a storm, and how its faults are drawn."""

    profile: Profile
    jobs: int
    faults: int
    seed: int
    steps: int = 600
    workers: int = 3
    at_once: int = 8
    """The number of jobs that wait or run at a time."""
    pause_seconds: float = 6.0
    """The longest time between two faults, s, while fewer jobs than planned have ended."""
    aimed_share: float = 0.4
    """The least share of faults that must hit a trainer in mid-training."""
    doubles_allowed: bool = False
    script: tuple[str, ...] = ()
    """The names of the faults, in place of `faults` drawn ones."""

    @property
    def names(self) -> list[str]:
        """The names of the faults, in order."""
        return list(self.script) or plan(random.Random(self.seed), self.profile, self.faults)


@dataclass
class StormOutcome:
    """The result of a storm."""

    plan: StormPlan
    seconds: float = 0.0
    accepted: int = 0
    struck: Counter[str] = field(default_factory=Counter)
    in_mid_training: int = 0
    repeats: int = 0
    history: JobHistory | None = None
    orphan_processes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def violations(self) -> list[str]:
        """A line for each violation."""
        assert self.history is not None
        found = [str(violation) for violation in self.history.violations]
        found += [f"service: a process is left: {process}" for process in self.orphan_processes]
        if self.in_mid_training < self.plan.aimed_share * self.struck.total():
            found.append(f"storm: too few faults hit a job in mid-training: {self.in_mid_training}")
        return found + self.notes


def bodies(steps: int) -> list[dict[str, Any]]:
    """Return the few specs of a storm's jobs. Each has a reference run; the last one is also evaluated."""
    often = {
        "total_steps": steps,
        "max_attempts": 20,
        "checkpoints": {"every_steps": max(1, steps // 12), "keep_last": 2},
        "previews": {"every_steps": max(1, steps // 3), "per_class": 1},
    }
    evaluated = {"evaluation": {"every_steps": max(1, steps // 2), "images": 100}}
    return [*(tiny(seed=seed, **often) for seed in range(3)), tiny(seed=3, **often, **evaluated)]


def run(chosen: StormPlan, folder: Path, log: Callable[[str], None]) -> StormOutcome:
    """Run the storm in `folder`, with a line of `log` for every fault."""
    outcome, began = StormOutcome(chosen), time.monotonic()
    with fleet.infrastructure(chosen.profile, folder) as infrastructure:
        clients = ClientView(doubles_allowed=chosen.doubles_allowed)
        with Fleet(infrastructure, folder / "logs", workers=chosen.workers, seed=chosen.seed) as service:
            db = fleet.open_database(infrastructure)
            with ExitStack() as stack:
                stack.callback(db.dispose)
                caller = stack.enter_context(LoadCaller(service.urls, chosen.seed))
                pool = stack.enter_context(ThreadPoolExecutor(6))
                storm = Storm(
                    chosen,
                    outcome,
                    StormContext(infrastructure, service, caller, clients, pool, chosen.seed),
                    db,
                    log,
                )
                storm.run()
                time.sleep(_SWEEP_SECONDS)
        outcome.orphan_processes = fleet.kill_remaining(infrastructure.settings, 30)
        db = fleet.open_database(infrastructure)
        outcome.history = history.check(db, files_of(infrastructure.settings), clients, References())
        db.dispose()
    outcome.accepted, outcome.repeats = len(clients.accepted), caller.repeats
    outcome.seconds = time.monotonic() - began
    return outcome


class Storm:
    """A running storm."""

    def __init__(
        self,
        chosen: StormPlan,
        outcome: StormOutcome,
        context: StormContext,
        db: Database,
        log: Callable[[str], None],
    ) -> None:
        self._plan, self._outcome, self._context, self._db = chosen, outcome, context, db
        self._log_line, self._began = log, time.monotonic()
        self._bodies, self._names = bodies(chosen.steps), chosen.names
        self._numbers = iter(range(chosen.jobs))
        self._drawing = threading.Lock()
        self._done = threading.Event()
        context.submit_one = self._submit_one

    def run(self) -> None:
        """Submit all jobs, inject all faults, and wait until all jobs have ended."""
        threads = [
            threading.Thread(target=work) for work in (self._submit, self._resume_paused, self._log_job_counts)
        ]
        for thread in threads:
            thread.start()
        try:
            for number, name in enumerate(self._names):
                self._wait_for_turn(number)
                self._strike(name)
            threads[0].join()
            self._context.wait_for_scheduled()
            self._wait_until_ended()
        finally:
            self._done.set()
            self._context.wait_for_scheduled()
            for thread in threads:
                thread.join()

    def _submit(self) -> None:
        """Keep a few jobs running, and hold some back for later faults."""
        while not self._done.is_set():
            if not self._has_room():
                time.sleep(_LOOK_SECONDS)
            elif not self._submit_one():
                return

    def _has_room(self) -> bool:
        accepted, share = len(self._context.clients.accepted), self._outcome.struck.total() / max(1, len(self._names))
        return accepted < min(self._ended() + self._plan.at_once, self._plan.jobs * share + self._plan.at_once)

    def _submit_one(self) -> bool:
        """Submit the next job. Return whether one was left."""
        with self._drawing:
            number = next(self._numbers, None)
        if number is None:
            return False
        key, body = f"storm-{self._plan.seed}-{number}", self._bodies[number % len(self._bodies)]
        try:
            self._context.clients.accepted[key] = self._context.caller.submit(body, key)
        except (UnansweredError, AssertionError) as error:
            self._note(f"client: job {number} was not accepted: {error}")
        return True

    def _wait_for_turn(self, number: int) -> None:
        """Wait until enough jobs have ended for this fault, but not longer than `pause_seconds`."""
        give_up = time.monotonic() + self._context.random.uniform(0.3, 1) * self._plan.pause_seconds
        while time.monotonic() < give_up:
            if number * self._plan.jobs <= self._ended() * len(self._names):
                break
            time.sleep(_LOOK_SECONDS)

    def _strike(self, name: str) -> None:
        if name in SHARED:
            self._log(name, SHARED[name].strike(self._context))
        elif (target := self._find_target()) is None:
            self._log(name, "skipped: no job was in mid-training")
        else:
            where = f"{target.job_id} attempt {target.attempt}"
            self._log(name, f"{where}: {TARGETED[name].strike(self._context, target)}")
            self._outcome.in_mid_training += 1
        self._outcome.struck[name] += 1

    def _find_target(self) -> TrainerHandle | None:
        """Return a trainer in mid-training; None if there is none for `_AIM_SECONDS`."""
        give_up = time.monotonic() + _AIM_SECONDS
        while time.monotonic() < give_up:
            training = self._in_mid_training()
            if found := [t for t in trainers(set(training)) if t.attempt == training[t.job_id] and _is_whole(t)]:
                return self._context.random.choice(sorted(found, key=lambda trainer: trainer.job_id))
            time.sleep(_LOOK_SECONDS)
        return None

    def _in_mid_training(self) -> dict[str, int]:
        """Return job -> attempt of the jobs that train and have recorded a step."""
        query = (
            select(Job.id, Job.attempt)
            .join(Attempt, (Attempt.job_id == Job.id) & (Attempt.attempt == Job.attempt))
            .where(Job.status == Status.RUNNING.value, Job.step > Attempt.resumed_from_step)
            .where(Job.step < _LATE_STEPS * Job.total_steps, Job.crashes < _MAX_CRASHES)
        )
        return {str(job_id): int(attempt) for job_id, attempt in self._rows(query)}

    def _ended(self) -> int:
        return sum(status in TERMINAL for _, status, _ in self._job_states())

    def _job_states(self) -> list[tuple[str, Status, int]]:
        """Return id, status and a number that grows with progress, for each job."""
        query = select(Job.id, Job.status, Job.step + Job.event_seq)
        return [(job_id, Status(status), moved) for job_id, status, moved in self._rows(query)]

    def _rows(self, query: Any) -> list[Any]:
        try:
            with self._db.read() as s:
                return list(s.execute(query))
        except UnavailableError:
            return []  # the database was just killed

    def _resume_paused(self) -> None:
        """Resume paused jobs, about once a second."""
        while not self._done.wait(1):
            waiting = {job_id for job_id, status, _ in self._job_states() if status is Status.PAUSED}
            for job_id in sorted(waiting & self._context.paused):
                try:
                    self._context.caller.ask(job_id, "resume")
                except UnansweredError as error:
                    self._note(f"client: {error}")

    def _log_job_counts(self) -> None:
        """Log the number of jobs by status, every `_LOG_SECONDS`."""
        while not self._done.wait(_LOG_SECONDS):
            counts = Counter(status.value for _, status, _ in self._job_states())
            self._log("jobs", ", ".join(f"{count} {status}" for status, count in sorted(counts.items())))

    def _wait_until_ended(self) -> None:
        """Wait until every job has ended, or note those that are stuck."""
        before: list[tuple[str, Status, int]] = []
        moved = time.monotonic()
        while time.monotonic() - moved < _STUCK_SECONDS:
            states = self._job_states()
            if states and all(status in TERMINAL for _, status, _ in states):
                return
            if states != before:
                before, moved = states, time.monotonic()
            time.sleep(_LOOK_SECONDS * 3)
        for line in _stuck(before):
            self._note(line)

    def _note(self, line: str) -> None:
        self._log("note", line)
        self._outcome.notes.append(line)

    def _log(self, what: str, detail: str) -> None:
        self._log_line(f"{time.monotonic() - self._began:8.2f} {what}: {detail}")


def _is_whole(found: TrainerHandle) -> bool:
    """Return whether all processes of the trainer's chain are alive and not frozen."""
    return min(found.chain) > 1 and not any(map(is_frozen, found.chain))


def _stuck(states: list[tuple[str, Status, int]]) -> Iterator[str]:
    for job_id, status, _ in states:
        if status not in TERMINAL:
            yield f"{job_id}: stuck: it is {status}, and nothing has moved for {_STUCK_SECONDS} s"
