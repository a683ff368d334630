"""A model of a job in memory, with its own clock, that the store is compared with."""

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
"""The steps of the clock, s. No sum of them is near a limit above, so the duration of a test does not matter."""
BACKOFF: Final = 50.0
"""The delay of a job after a crash, s: longer than a test, shorter than any step of the clock."""


@dataclass
class ModelJob:
    """The expected state of a job; times are in s on the model's clock."""

    id: str
    priority: int
    created: float
    max_attempts: int
    max_runtime: int | None
    row_created_at: float
    """The time of creation on the database's clock, for the order of claims."""
    status: Status = Status.QUEUED
    attempt: int = 0
    crashes: int = 0
    holder: str | None = None
    resumed: bool = False
    """Whether the running attempt has recorded from which step it resumes."""
    lease_until: float = 0.0
    claimed: float = 0.0
    heartbeat_at: float = 0.0
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
        """The sort key of claims: the smallest is claimed first."""
        return -self.priority, self.row_created_at, self.id

    def _change_status(self, to: Status) -> None:
        self.status = to
        self.path.append(to)

    def _check_fence(self, attempt: int) -> None:
        if self.status is not Status.RUNNING or self.attempt != attempt:
            raise FencedError

    def _refuse(self, action: str) -> None:
        raise InvalidTransitionError(action, self.status, [])

    def claimed_by(self, worker: str, now: float) -> None:
        self._change_status(Status.RUNNING)
        self.attempt += 1
        self.resumed = False
        self.holder, self.claimed, self.heartbeat_at, self.lease_until = worker, now, now, now + LEASE

    def renew(self, attempt: int, now: float) -> JobRequests:
        self._check_fence(attempt)
        self.heartbeat_at, self.lease_until = now, now + LEASE
        overdue = self.max_runtime is not None and self.ran + now - self.claimed >= self.max_runtime
        return JobRequests(self.cancel, self.pause, self.save, overdue)

    def tick(self, attempt: int, count: int, now: float) -> JobRequests:
        requests = self.renew(attempt, now)
        self.step += count
        self.curve += [attempt] * count
        return requests

    def resume_training(self, attempt: int, now: float) -> JobRequests:
        """Resume from the newest checkpoint; the steps after it do not count."""
        requests = self.renew(attempt, now)
        self.step, self.resumed = max(self.saved, default=0), True
        del self.curve[self.step :]
        return requests

    def save_checkpoint(self, attempt: int, now: float, keep_last: int) -> JobRequests:
        requests = self.renew(attempt, now)
        self.saved = sorted({*self.saved, self.step})[-keep_last:]
        self.save = False
        return requests

    def finish(self, attempt: int, status: Status, now: float) -> Status:
        self._check_fence(attempt)
        return self._leave(Status.CANCELLED if self.cancel else status, now)

    def release(self, attempt: int, now: float, *, crash: bool) -> Status:
        self._check_fence(attempt)
        self.crashes += crash
        if self.cancel:
            return self._leave(Status.CANCELLED, now)
        if self.max_runtime is not None and self._run_seconds(now) >= self.max_runtime:
            return self._leave(Status.FAILED, now)
        if self.pause:
            return self._leave(Status.PAUSED, now)
        if crash and self.crashes >= self.max_attempts:
            return self._leave(Status.FAILED, now)
        self.not_before, self.published = now + (BACKOFF if crash else 0), None
        return self._leave(Status.QUEUED, now)

    def _run_seconds(self, now: float) -> float:
        """Return the running time. A lost worker counts as running until its lease ended."""
        return self.ran + (self.heartbeat_at if self.lease_until < now else now) - self.claimed

    def _leave(self, to: Status, now: float) -> Status:
        self.ran = self._run_seconds(now)
        self.holder, self.pause, self.save = None, False, False
        self._change_status(to)
        return to

    def ask_cancel(self) -> Status:
        if self.status in TERMINAL and self.status is not Status.CANCELLED:
            self._refuse("cancel")
        if self.status in (Status.QUEUED, Status.PAUSED):
            self._change_status(Status.CANCELLED)
        self.cancel = True
        return self.status

    def ask_pause(self) -> Status:
        if self.status in TERMINAL or (self.status is Status.RUNNING and self.cancel):
            self._refuse("pause")
        if self.status is Status.QUEUED:
            self._change_status(Status.PAUSED)
        elif self.status is Status.RUNNING:
            self.pause = True
        return self.status

    def ask_resume(self, now: float) -> Status:
        if self.status in TERMINAL or (self.status is Status.RUNNING and self.cancel):
            self._refuse("resume")
        if self.status is Status.PAUSED:
            self.not_before, self.published = now, None
            self._change_status(Status.QUEUED)
        self.pause = False
        return self.status

    def ask_save(self) -> Status:
        if self.status is not Status.RUNNING:
            self._refuse("save_checkpoint")
        self.save = True
        return self.status

    def check_deletable(self) -> None:
        if self.status not in TERMINAL:
            self._refuse("delete")
