"""A storm: jobs are accepted, faults are drawn by a seed and struck, and the record is read afterwards."""

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
from tests.faults.harm import AIMED, SHARED, Scene, plan
from tests.faults.history import JobHistory, ToldStatus
from tests.faults.processes import TrainerHandle, is_frozen, trainers
from tests.faults.undisturbed import References
from tests.jobs.helpers import files_of
from tests.worker.helpers import tiny

_STUCK_SECONDS: Final = 150
"""Longer than the longest pause after a crash: when nothing has moved for so long, nothing will."""
_TIDY_SECONDS: Final = 2 * LEASE_SECONDS + 10
"""After which the sweeper has deleted what killed and fenced attempts have left."""
_LOOK_SECONDS: Final = 0.1
_LATE_STEPS: Final = 0.9
"""Share of a job's steps past which a fault would hit its end and not its middle."""
_TELL_SECONDS: Final = 20
_AIM_SECONDS: Final = 40
"""How long a fault waits for a trainer to strike."""
_WORN: Final = 6
"""Crashes after which a job is left alone: its next pause would be a minute."""


@dataclass(frozen=True)
class StormPlan:
    """How large a storm is, and what it draws from."""

    profile: Profile
    jobs: int
    faults: int
    seed: int
    steps: int = 600
    workers: int = 3
    at_once: int = 8
    """Jobs that wait or run at a time."""
    pause_seconds: float = 6.0
    """Longest time between two faults, while the jobs do not keep up with them."""
    aimed_share: float = 0.4
    """Of all faults, the least that must strike a trainer in mid-training."""
    doubles_allowed: bool = False
    script: tuple[str, ...] = ()
    """The faults by name, in place of `faults` drawn ones."""

    @property
    def names(self) -> list[str]:
        """The faults, in order."""
        return list(self.script) or plan(random.Random(self.seed), self.profile, self.faults)


@dataclass
class StormOutcome:
    """What came of it."""

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
        """All that should not be; none after a storm that was weathered."""
        assert self.history is not None
        found = [str(violation) for violation in self.history.violations]
        found += [f"service: no process is left: {process}" for process in self.orphan_processes]
        if self.in_mid_training < self.plan.aimed_share * self.struck.total():
            found.append(f"storm: it proves too little: {self.in_mid_training} faults struck in mid-training")
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
    """Let it rage in `folder`; every fault is a line of `log`."""
    outcome, began = StormOutcome(chosen), time.monotonic()
    with fleet.ground(chosen.profile, folder) as ground:
        told = ToldStatus(doubles_allowed=chosen.doubles_allowed)
        with Fleet(ground, folder / "logs", workers=chosen.workers, seed=chosen.seed) as service:
            db = fleet.record(ground)
            with ExitStack() as stack:
                stack.callback(db.dispose)
                caller = stack.enter_context(LoadCaller(service.urls, chosen.seed))
                hands = stack.enter_context(ThreadPoolExecutor(6))
                storm = Storm(chosen, outcome, Scene(ground, service, caller, told, hands, chosen.seed), db, log)
                storm.rage()
                time.sleep(_TIDY_SECONDS)
        outcome.orphan_processes = fleet.left_behind(ground.settings, 30)
        db = fleet.record(ground)
        outcome.history = history.check(db, files_of(ground.settings), told, References())
        db.dispose()
    outcome.accepted, outcome.repeats = len(told.accepted), caller.repeats
    outcome.seconds = time.monotonic() - began
    return outcome


class Storm:
    """One storm under way."""

    def __init__(
        self, chosen: StormPlan, outcome: StormOutcome, scene: Scene, db: Database, log: Callable[[str], None]
    ) -> None:
        self._plan, self._outcome, self._scene, self._db = chosen, outcome, scene, db
        self._log_line, self._began = log, time.monotonic()
        self._bodies, self._names = bodies(chosen.steps), chosen.names
        self._numbers = iter(range(chosen.jobs))
        self._drawing = threading.Lock()
        self._done = threading.Event()
        scene.submit_one = self._submit_one

    def rage(self) -> None:
        """From the first job accepted to the last one ended."""
        threads = [threading.Thread(target=work) for work in (self._submit, self._wake_paused, self._tell)]
        for thread in threads:
            thread.start()
        try:
            for number, name in enumerate(self._names):
                self._await_turn(number)
                self._strike(name)
            threads[0].join()
            self._scene.settle()
            self._await_ends()
        finally:
            self._done.set()
            self._scene.settle()
            for thread in threads:
                thread.join()

    def _submit(self) -> None:
        """Keep a few jobs going, and some in reserve for the faults that are still to come."""
        while not self._done.is_set():
            if not self._has_room():
                time.sleep(_LOOK_SECONDS)
            elif not self._submit_one():
                return

    def _has_room(self) -> bool:
        accepted, share = len(self._scene.told.accepted), self._outcome.struck.total() / max(1, len(self._names))
        return accepted < min(self._ended() + self._plan.at_once, self._plan.jobs * share + self._plan.at_once)

    def _submit_one(self) -> bool:
        """Whether there was one left to submit."""
        with self._drawing:
            number = next(self._numbers, None)
        if number is None:
            return False
        key, body = f"storm-{self._plan.seed}-{number}", self._bodies[number % len(self._bodies)]
        try:
            self._scene.told.accepted[key] = self._scene.caller.submit(body, key)
        except (UnansweredError, AssertionError) as error:
            self._note(f"client: job {number} was not taken: {error}")
        return True

    def _await_turn(self, number: int) -> None:
        """Faults and ended jobs keep pace; but no fault waits long."""
        give_up = time.monotonic() + self._scene.random.uniform(0.3, 1) * self._plan.pause_seconds
        while time.monotonic() < give_up:
            if number * self._plan.jobs <= self._ended() * len(self._names):
                break
            time.sleep(_LOOK_SECONDS)

    def _strike(self, name: str) -> None:
        if name in SHARED:
            self._log(name, SHARED[name].strike(self._scene))
        elif (victim := self._victim()) is None:
            self._log(name, "nobody was in mid-training; nothing was done")
        else:
            where = f"{victim.job_id} attempt {victim.attempt}"
            self._log(name, f"{where}: {AIMED[name].strike(self._scene, victim)}")
            self._outcome.in_mid_training += 1
        self._outcome.struck[name] += 1

    def _victim(self) -> TrainerHandle | None:
        """Return a trainer between its first tick and its end; None if there is none for a long time."""
        give_up = time.monotonic() + _AIM_SECONDS
        while time.monotonic() < give_up:
            training = self._in_mid_training()
            if found := [t for t in trainers(set(training)) if t.attempt == training[t.job_id] and _is_whole(t)]:
                return self._scene.random.choice(sorted(found, key=lambda trainer: trainer.job_id))
            time.sleep(_LOOK_SECONDS)
        return None

    def _in_mid_training(self) -> dict[str, int]:
        """Job -> attempt, of those that train and have told a step."""
        query = (
            select(Job.id, Job.attempt)
            .join(Attempt, (Attempt.job_id == Job.id) & (Attempt.attempt == Job.attempt))
            .where(Job.status == Status.RUNNING.value, Job.step > Attempt.resumed_from_step)
            .where(Job.step < _LATE_STEPS * Job.total_steps, Job.crashes < _WORN)
        )
        return {str(job_id): int(attempt) for job_id, attempt in self._rows(query)}

    def _ended(self) -> int:
        return sum(status in TERMINAL for _, status, _ in self._standing())

    def _standing(self) -> list[tuple[str, Status, int]]:
        """Of each job: its id, its status, and a number that grows while it gets on."""
        query = select(Job.id, Job.status, Job.step + Job.event_seq)
        return [(job_id, Status(status), moved) for job_id, status, moved in self._rows(query)]

    def _rows(self, query: Any) -> list[Any]:
        try:
            with self._db.read() as s:
                return list(s.execute(query))
        except UnavailableError:
            return []  # killed a moment ago

    def _wake_paused(self) -> None:
        """Resume what was paused, after a while."""
        while not self._done.wait(1):
            waiting = {job_id for job_id, status, _ in self._standing() if status is Status.PAUSED}
            for job_id in sorted(waiting & self._scene.paused):
                try:
                    self._scene.caller.ask(job_id, "resume")
                except UnansweredError as error:
                    self._note(f"client: {error}")

    def _tell(self) -> None:
        """Where the jobs stand, now and then."""
        while not self._done.wait(_TELL_SECONDS):
            counts = Counter(status.value for _, status, _ in self._standing())
            self._log("jobs", ", ".join(f"{count} {status}" for status, count in sorted(counts.items())))

    def _await_ends(self) -> None:
        """Until every job has ended, or nothing moves any more."""
        before: list[tuple[str, Status, int]] = []
        moved = time.monotonic()
        while time.monotonic() - moved < _STUCK_SECONDS:
            standing = self._standing()
            if standing and all(status in TERMINAL for _, status, _ in standing):
                return
            if standing != before:
                before, moved = standing, time.monotonic()
            time.sleep(_LOOK_SECONDS * 3)
        for line in _stuck(before):
            self._note(line)

    def _note(self, line: str) -> None:
        self._log("note", line)
        self._outcome.notes.append(line)

    def _log(self, what: str, detail: str) -> None:
        self._log_line(f"{time.monotonic() - self._began:8.2f} {what}: {detail}")


def _is_whole(found: TrainerHandle) -> bool:
    """Whether nothing has befallen it yet: all of it are there, and awake."""
    return min(found.chain) > 1 and not any(map(is_frozen, found.chain))


def _stuck(standing: list[tuple[str, Status, int]]) -> Iterator[str]:
    for job_id, status, _ in standing:
        if status not in TERMINAL:
            yield f"{job_id}: stuck: it is {status}, and nothing has moved for {_STUCK_SECONDS} s"
