"""What the record should say of a job: a model in memory, its clock moved by hand, to hold the store against."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from jobs.errors import FencedError, InvalidTransitionError
from jobs.leases import JobRequests
from jobs.status import TERMINAL, Status

LEASE: Final = 6_000.0
REPUBLISH: Final = 3_000.0
MAX_RUNTIME: Final = 10_200
JUMPS: Final = (900.0, 4_000.0, 7_000.0)
"""How time passes, s. No sum of these is near a limit above: what a test itself takes makes no difference."""
PAUSE: Final = 50.0
"""How long a job waits after a crash: longer than a test, shorter than any jump."""


@dataclass
class ModelJob:
    """A job as it should be; times by the model's clock, s."""

    id: str
    priority: int
    created: float
    max_attempts: int
    max_runtime: int | None
    born: float
    """By the database's clock, for the order of claims."""
    status: Status = Status.QUEUED
    attempt: int = 0
    crashes: int = 0
    holder: str | None = None
    begun: bool = False
    """Whether the attempt that runs has said what it goes on from."""
    lease_until: float = 0.0
    claimed: float = 0.0
    heard: float = 0.0
    not_before: float = 0.0
    ran: float = 0.0
    published: float | None = None
    cancel: bool = False
    pause: bool = False
    save: bool = False
    step: int = 0
    curve: list[int] = field(default_factory=list)
    """For each step, the attempt whose value counts."""
    saved: list[int] = field(default_factory=list)
    path: list[Status] = field(default_factory=lambda: [Status.QUEUED])

    @property
    def rank(self) -> tuple[int, float, str]:
        """Smallest first is the order of claims."""
        return -self.priority, self.born, self.id

    def _moved(self, to: Status) -> None:
        self.status = to
        self.path.append(to)

    def _mine(self, attempt: int) -> None:
        if self.status is not Status.RUNNING or self.attempt != attempt:
            raise FencedError

    def _refuse(self, action: str) -> None:
        raise InvalidTransitionError(action, self.status, [])

    def claimed_by(self, worker: str, now: float) -> None:
        self._moved(Status.RUNNING)
        self.attempt += 1
        self.begun = False
        self.holder, self.claimed, self.heard, self.lease_until = worker, now, now, now + LEASE

    def beat(self, attempt: int, now: float) -> JobRequests:
        self._mine(attempt)
        self.heard, self.lease_until = now, now + LEASE
        overdue = self.max_runtime is not None and self.ran + now - self.claimed >= self.max_runtime
        return JobRequests(self.cancel, self.pause, self.save, overdue)

    def tick(self, attempt: int, count: int, now: float) -> JobRequests:
        orders = self.beat(attempt, now)
        self.step += count
        self.curve += [attempt] * count
        return orders

    def goes_on(self, attempt: int, now: float) -> JobRequests:
        """From its newest checkpoint: what came after it does not count."""
        orders = self.beat(attempt, now)
        self.step, self.begun = max(self.saved, default=0), True
        del self.curve[self.step :]
        return orders

    def keep(self, attempt: int, now: float, keep_last: int) -> JobRequests:
        orders = self.beat(attempt, now)
        self.saved = sorted({*self.saved, self.step})[-keep_last:]
        self.save = False
        return orders

    def finish(self, attempt: int, status: Status, now: float) -> Status:
        self._mine(attempt)
        return self._leave(Status.CANCELLED if self.cancel else status, now)

    def release(self, attempt: int, now: float, *, crash: bool) -> Status:
        self._mine(attempt)
        self.crashes += crash
        if self.cancel:
            return self._leave(Status.CANCELLED, now)
        if self.max_runtime is not None and self._has_run(now) >= self.max_runtime:
            return self._leave(Status.FAILED, now)
        if self.pause:
            return self._leave(Status.PAUSED, now)
        if crash and self.crashes >= self.max_attempts:
            return self._leave(Status.FAILED, now)
        self.not_before, self.published = now + (PAUSE if crash else 0), None
        return self._leave(Status.QUEUED, now)

    def _has_run(self, now: float) -> float:
        """Return the running time. A lost worker counts as running until its lease ended."""
        return self.ran + (self.heard if self.lease_until < now else now) - self.claimed

    def _leave(self, to: Status, now: float) -> Status:
        self.ran = self._has_run(now)
        self.holder, self.pause, self.save = None, False, False
        self._moved(to)
        return to

    def ask_cancel(self) -> Status:
        if self.status in TERMINAL and self.status is not Status.CANCELLED:
            self._refuse("cancel")
        if self.status in (Status.QUEUED, Status.PAUSED):
            self._moved(Status.CANCELLED)
        self.cancel = True
        return self.status

    def ask_pause(self) -> Status:
        if self.status in TERMINAL or (self.status is Status.RUNNING and self.cancel):
            self._refuse("pause")
        if self.status is Status.QUEUED:
            self._moved(Status.PAUSED)
        elif self.status is Status.RUNNING:
            self.pause = True
        return self.status

    def ask_resume(self, now: float) -> Status:
        if self.status in TERMINAL or (self.status is Status.RUNNING and self.cancel):
            self._refuse("resume")
        if self.status is Status.PAUSED:
            self.not_before, self.published = now, None
            self._moved(Status.QUEUED)
        self.pause = False
        return self.status

    def ask_save(self) -> Status:
        if self.status is not Status.RUNNING:
            self._refuse("save_checkpoint")
        self.save = True
        return self.status

    def may_be_deleted(self) -> None:
        if self.status not in TERMINAL:
            self._refuse("delete")
