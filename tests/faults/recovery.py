"""Recovery times of a service without other load, beside their targets."""

from __future__ import annotations

import signal
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from jobs.db import Database
from jobs.models import Attempt, Job
from jobs.status import TERMINAL
from tests.faults import fleet
from tests.faults.caller import LoadCaller
from tests.faults.fleet import LEASE_SECONDS, Fleet, Profile
from tests.faults.processes import TrainerHandle, signal_all, trainers
from tests.worker.helpers import ENDLESS, tiny

_LOOK_SECONDS: Final = 0.02
_LIMIT_SECONDS: Final = 120


@dataclass(frozen=True)
class Recovery:
    """One recovery: its target and the measured times, s."""

    profile: Profile
    what: str
    target: str
    seconds: list[float]
    claimed: list[float]
    """The part until a worker had claimed the job, s; the rest is the trainer's start. Empty without claims."""

    def __str__(self) -> str:
        median, worst = statistics.median(self.seconds), max(self.seconds)
        measured = f"median {median:5.2f} s  worst {worst:5.2f} s  of {len(self.seconds)}"
        claimed = f", claimed after {statistics.median(self.claimed):.2f} s" if self.claimed else ""
        return f"  {self.what:<48}{measured}{claimed}  target {self.target}"


def measure(profile: Profile, folder: Path, repeats: int) -> list[Recovery]:
    """Measure each recovery `repeats` times, with one job at a time."""
    with (
        fleet.infrastructure(profile, folder) as infrastructure,
        Fleet(infrastructure, folder / "logs", apis=1, relays=1, workers=2) as running,
        LoadCaller(running.urls, seed=0) as caller,
    ):
        db = fleet.open_database(infrastructure)
        try:
            service = QuietService(db, caller)
            return [_measured(profile, what, service, repeats) for what in _MEASURED]
        finally:
            db.dispose()


def _measured(profile: Profile, what: str, service: QuietService, repeats: int) -> Recovery:
    target, once = _MEASURED[what]
    found = [once(service) for _ in range(repeats)]
    claimed = [took.claimed for took in found if took.claimed is not None]
    return Recovery(profile, what, target, [took.seconds for took in found], claimed)


class RecoveryTime(NamedTuple):
    """One measurement, s: until the end, and until a worker had claimed the job."""

    seconds: float
    claimed: float | None


class QuietService:
    """A service that runs one job at a time, and functions that read its record."""

    def __init__(self, db: Database, caller: LoadCaller) -> None:
        self._db, self._caller, self._count = db, caller, 0

    def accept(self) -> str:
        """Submit a job that trains until it is cancelled and reports often. Return its id."""
        self._count += 1
        often = {"every_steps": 20}
        body = tiny(total_steps=ENDLESS, previews={"every_steps": ENDLESS, "per_class": 1}, checkpoints=often)
        return self._caller.submit(body, f"recovery-{self._count}")

    def cancel(self, job_id: str) -> None:
        """Request the cancel of the job."""
        self._caller.ask(job_id, "cancel")

    def until_claimed(self, job_id: str, attempt: int) -> None:
        """Wait until a worker has claimed that attempt."""
        self._until(job_id, lambda job, last: job.attempt == attempt)

    def until_trains(self, job_id: str, attempt: int) -> None:
        """Wait until the first step of that attempt is on record."""
        self._until(job_id, lambda job, last: job.attempt == attempt and _has_stepped(job, last))

    def until_ended(self, job_id: str) -> None:
        """Wait until the job has ended."""
        self._until(job_id, lambda job, last: job.status in TERMINAL)

    def trainer(self, job_id: str) -> TrainerHandle:
        """Return the process that trains the job."""
        (found,) = trainers({job_id})
        return found

    def _until(self, job_id: str, met: Callable[[Job, Attempt | None], bool]) -> None:
        give_up = time.monotonic() + _LIMIT_SECONDS
        while True:
            with self._db.read() as s:
                job = s.get_one(Job, job_id)
                if met(job, s.get(Attempt, (job_id, job.attempt))):
                    return
            assert time.monotonic() < give_up, f"{job_id} is {job.status} at step {job.step}, attempt {job.attempt}"
            time.sleep(_LOOK_SECONDS)


def _has_stepped(job: Job, attempt: Attempt | None) -> bool:
    return attempt is not None and attempt.resumed_from_step is not None and job.step > attempt.resumed_from_step


def _accept_to_first_step(service: QuietService) -> RecoveryTime:
    began = time.monotonic()
    job_id = service.accept()
    return _until_it_trains(service, job_id, 1, began)


def _trainer_death(service: QuietService) -> RecoveryTime:
    return _after(service, lambda trainer: [trainer.pid])


def _worker_death(service: QuietService) -> RecoveryTime:
    """Measure the loss of a host: no process is left to release the job."""
    return _after(service, lambda trainer: trainer.chain)


def _after(service: QuietService, victims: Callable[[TrainerHandle], list[int]]) -> RecoveryTime:
    job_id = service.accept()
    service.until_trains(job_id, 1)
    began = time.monotonic()
    signal_all(victims(service.trainer(job_id)), signal.SIGKILL)
    return _until_it_trains(service, job_id, 2, began)


def _until_it_trains(service: QuietService, job_id: str, attempt: int, began: float) -> RecoveryTime:
    service.until_claimed(job_id, attempt)
    claimed = time.monotonic() - began
    service.until_trains(job_id, attempt)
    took = RecoveryTime(time.monotonic() - began, claimed)
    service.cancel(job_id)
    service.until_ended(job_id)
    return took


def _cancel(service: QuietService) -> RecoveryTime:
    job_id = service.accept()
    service.until_trains(job_id, 1)
    began = time.monotonic()
    service.cancel(job_id)
    service.until_ended(job_id)
    return RecoveryTime(time.monotonic() - began, None)


_MEASURED: Final[dict[str, tuple[str, Callable[[QuietService], RecoveryTime]]]] = {
    "accept -> first step": ("2 s + torch import", _accept_to_first_step),
    "trainer kill -9 -> next attempt's first step": ("5 s + model load", _trainer_death),
    "worker kill -9 -> next attempt's first step": (f"lease ({LEASE_SECONDS:g} s) + 5 s", _worker_death),
    "cancel of a running job -> cancelled": ("heartbeat (1 s) + 10 s", _cancel),
}
