"""A state machine over the store, on both databases: after any sequence of actions the record equals the model.

Time passes by moving every stored time into the past, so that leases and backoffs end within milliseconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar, Final

import numpy as np
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, select

from jobs import leases
from jobs.db import Database, Session
from jobs.errors import FencedError, InvalidTransitionError, JobNotFoundError
from jobs.models import Job as Row
from jobs.models import Outbox, Worker
from jobs.status import TERMINAL, Status
from jobs.storage import StoredFile
from jobs.store import checkpoints, jobs, metrics, outbox, workers
from tests.faults import model
from tests.faults.checks import age_records, check_attempts, check_curve, check_events, check_row, lengthen_backoff
from tests.faults.model import LEASE, REPUBLISH, ModelJob
from tests.jobs.helpers import submit

WORKERS: Final = ("one", "two", "three")
MAX_JOBS: Final = 5
KEEP_LAST: Final = 2
_REASON: Final = {"code": "test", "message": "The test ended it."}

indices = st.integers(0, 99)
some_worker = st.sampled_from(WORKERS)


def test_the_record_equals_the_model(db: Database) -> None:
    class Bound(Machine):
        database = db

    run_state_machine_as_test(
        Bound,
        settings=hypothesis_settings(
            max_examples=15,
            stateful_step_count=40,
            deadline=None,
            database=None,
            # Shrinking a failure would take minutes; its steps are printed unshrunk.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


class Machine(RuleBasedStateMachine):
    """Clients, three workers, a relay, a sweeper and a broker that loses and doubles messages."""

    database: ClassVar[Database]

    def __init__(self) -> None:
        super().__init__()
        self.db = self.database
        self.now = 0.0
        self.jobs: dict[str, ModelJob] = {}
        self.attempts: list[tuple[str, int]] = []
        """All attempts so far: (job, number)."""
        self.heartbeats = dict.fromkeys(WORKERS, 0.0)
        self.hints: dict[str, list[float]] = {}
        self.messages = 0
        self.consistent = False
        self.checked: dict[str, tuple[Any, ...]] = {}
        """The states of rows whose histories are already checked."""

    @initialize()
    def begin(self) -> None:
        with self.db.write() as s:
            for table in (Row, Outbox, Worker):
                s.execute(delete(table))
            for name in WORKERS:
                workers.register(s, name, "here", [])

    # Clients

    @precondition(lambda self: len(self.jobs) < MAX_JOBS)
    @rule(priority=st.integers(0, 2), attempts=st.integers(1, 3), bounded=st.booleans())
    def accept(self, priority: int, attempts: int, bounded: bool) -> None:
        limit = model.MAX_RUNTIME if bounded else None
        row = submit(self.db, priority=priority, max_attempts=attempts, max_runtime_seconds=limit)
        self.jobs[row.id] = ModelJob(row.id, priority, self.now, attempts, limit, row_created_at=row.created_at)
        self.hints[row.id] = [self.now]

    @precondition(lambda self: self.jobs)
    @rule(pick=indices)
    def cancel(self, pick: int) -> None:
        job = self._any(pick)
        self._apply(job.ask_cancel, lambda s: Status(jobs.request_cancel(s, job.id).status))

    @precondition(lambda self: self.jobs)
    @rule(pick=indices)
    def pause(self, pick: int) -> None:
        job = self._any(pick)
        self._apply(job.ask_pause, lambda s: Status(jobs.request_pause(s, job.id).status))

    @precondition(lambda self: self.jobs)
    @rule(pick=indices)
    def resume(self, pick: int) -> None:
        job = self._any(pick)
        was_paused = job.status is Status.PAUSED
        self._apply(lambda: job.ask_resume(self.now), lambda s: Status(jobs.resume(s, job.id).status))
        if was_paused:
            self.hints[job.id].append(self.now)

    @precondition(lambda self: self.jobs)
    @rule(pick=indices)
    def save_now(self, pick: int) -> None:
        job = self._any(pick)
        self._apply(job.ask_save, lambda s: Status(jobs.request_checkpoint(s, job.id).status))

    @precondition(lambda self: self.jobs)
    @rule(pick=indices)
    def remove(self, pick: int) -> None:
        job = self._any(pick)
        if self._apply(job.check_deletable, lambda s: jobs.delete(s, job.id)) is None:
            del self.jobs[job.id], self.hints[job.id]

    # Workers

    @rule(worker=some_worker)
    def claim(self, worker: str) -> None:
        """Claim with a worker, which a doubled hint may have woken: it gets the best job."""
        best = min((job for job in self.jobs.values() if self._claimable(job)), key=lambda j: j.rank, default=None)
        with self.db.write() as s:
            row = leases.claim(s, worker, "cpu", 0, LEASE)
        assert (row and row.id) == (best and best.id)
        if best is not None:
            best.claimed_by(worker, self.now)
            self.attempts.append((best.id, best.attempt))

    @precondition(lambda self: self._running(resumed=False))
    @rule(pick=indices)
    def resume_training(self, pick: int) -> None:
        """Let the trainer resume from its newest checkpoint."""
        job = self._running_job(pick, resumed=False)

        def resumed(s: Session) -> leases.JobRequests:
            newest = checkpoints.newest_ready(s, job.id)
            step = 0 if newest is None else newest.step
            requests = leases.fence(s, job.id, job.attempt, LEASE, step=step)
            leases.record_resume(s, job.id, job.attempt, step)
            return requests

        self._apply(lambda: job.resume_training(job.attempt, self.now), resumed)

    @precondition(lambda self: self._running(resumed=True))
    @rule(pick=indices, count=st.integers(1, 3))
    def tick(self, pick: int, count: int) -> None:
        job = self._running_job(pick, resumed=True)
        first, attempt = job.step + 1, job.attempt

        def write(s: Session) -> leases.JobRequests:
            requests = leases.fence(s, job.id, attempt, LEASE, step=first + count - 1)
            metrics.append(s, job.id, attempt, first, ["loss_d"], np.full((count, 1), attempt, np.float32))
            return requests

        self._apply(lambda: job.tick(attempt, count, self.now), write)

    @precondition(lambda self: self._running(resumed=True))
    @rule(pick=indices)
    def save(self, pick: int) -> None:
        job = self._running_job(pick, resumed=True)
        if job.step in job.saved:
            return
        file = StoredFile(f"{job.id}/{job.step}.{job.attempt}", 1, "0" * 64)

        def register(s: Session) -> leases.JobRequests:
            requests = leases.fence(s, job.id, job.attempt, LEASE)
            checkpoints.register(s, job.id, job.attempt, job.step, {}, file, file)
            checkpoints.retire(s, job.id, KEEP_LAST)
            return requests

        self._apply(lambda: job.save_checkpoint(job.attempt, self.now, KEEP_LAST), register)

    @precondition(lambda self: self._running())
    @rule(pick=indices)
    def renew(self, pick: int) -> None:
        job = self._running_job(pick)
        self._apply(lambda: job.renew(job.attempt, self.now), lambda s: leases.renew(s, job.id, job.attempt, LEASE))

    @precondition(lambda self: self._running())
    @rule(pick=indices, status=st.sampled_from([Status.SUCCEEDED, Status.FAILED]))
    def finish(self, pick: int, status: Status) -> None:
        job = self._running_job(pick)
        attempt = job.attempt
        self._apply(
            lambda: job.finish(attempt, status, self.now),
            lambda s: Status(leases.finish(s, job.id, attempt, status, _error(status)).status),
        )

    @precondition(lambda self: self._running())
    @rule(pick=indices, crash=st.booleans())
    def release(self, pick: int, crash: bool) -> None:
        job = self._running_job(pick)
        attempt = job.attempt
        self._apply(
            lambda: job.release(attempt, self.now, crash=crash),
            lambda s: Status(leases.release(s, job.id, attempt, crash=crash, reason=_REASON).status),
        )
        self._queued_again(job)

    @rule(worker=some_worker)
    def worker_heartbeat(self, worker: str) -> None:
        with self.db.write() as s:
            assert workers.heartbeat(s, worker)
        self.heartbeats[worker] = self.now

    @precondition(lambda self: self.attempts)
    @rule(pick=indices, write=st.sampled_from(["renew", "fence", "finish", "release"]))
    def a_zombie_writes(self, pick: int, write: str) -> None:
        job_id, attempt = self.attempts[pick % len(self.attempts)]
        if self._holds(job_id, attempt):
            return
        self._apply(_fenced, lambda s: _WRITES[write](s, job_id, attempt))

    # The relay, the sweeper, the broker and time

    @rule(seconds=st.sampled_from(model.JUMPS))
    def time_passes(self, seconds: float) -> None:
        with self.db.write() as s:
            age_records(s, seconds)
        self.now += seconds

    @rule()
    def reap(self) -> None:
        lost = {job.id for job in self.jobs.values() if job.holder is not None and job.lease_until < self.now}
        with self.db.write() as s:
            assert set(leases.reap(s)) == lost
        for job_id in lost:
            job = self.jobs[job_id]
            job.release(job.attempt, self.now, crash=True)
            self._queued_again(job)

    @rule(crashes=st.booleans())
    def relay(self, crashes: bool) -> None:
        """Send hints; the relay may die after the broker has them and before that is recorded."""
        due = [job_id for job_id, times in self.hints.items() for at in times if at <= self.now]
        with self.db.write() as s:
            hints = outbox.fetch_due(s, 1000)
            assert sorted(hint.job_id for hint in hints) == sorted(due)
            if not crashes:
                outbox.mark_sent(s, hints)
        self.messages += len(due)
        if not crashes:
            for job_id in due:
                self.hints[job_id] = [at for at in self.hints[job_id] if at > self.now]
                self.jobs[job_id].published = self.now

    @rule()
    def republish(self) -> None:
        busy = {job.holder for job in self.jobs.values()}
        idle = [name for name in WORKERS if name not in busy and self.now - self.heartbeats[name] < LEASE]
        waiting = {j.id: _last_sent(j) for j in self.jobs.values() if self._claimable(j) and not self.hints[j.id]}
        forgotten = {job_id: at for job_id, at in waiting.items() if self.now - at > REPUBLISH}
        most = max(0, len(idle) - sum(at <= self.now for times in self.hints.values() for at in times))
        with self.db.write() as s:
            assert workers.count_idle(s, LEASE) == len(idle)
            found = outbox.republish(s, REPUBLISH, len(idle))
        assert sorted(forgotten[job_id] for job_id in found) == sorted(forgotten.values())[:most]
        self.hints.update({job_id: [*self.hints[job_id], self.now] for job_id in found})

    @rule()
    def the_broker_loses_all_messages(self) -> None:
        self.messages = 0

    # Invariants

    @invariant()
    def the_record_equals_the_model(self) -> None:
        self.consistent = False
        with self.db.read() as s:
            rows = {row.id: row for row in s.scalars(select(Row))}
            assert rows.keys() == self.jobs.keys()
            pending = Counter(s.scalars(select(Outbox.job_id)))
            assert pending == Counter({job_id: len(times) for job_id, times in self.hints.items() if times})
            for job_id, job in self.jobs.items():
                check_row(rows[job_id], job)
                self._check_history(s, rows[job_id], job)
        self.consistent = True

    def _check_history(self, s: Session, row: Row, job: ModelJob) -> None:
        """Check the history of a job whose row has changed: a tick, a checkpoint and a transition each change it."""
        trace = (row.status, row.attempt, row.step, row.event_seq, row.heartbeat_at)
        if self.checked.get(job.id) != trace:
            check_curve(s, job)
            check_events(s, row, job)
            check_attempts(s, job)
            self.checked[job.id] = trace

    def teardown(self) -> None:
        """Check that every job ends in the end, although the broker has lost all messages."""
        if not self.consistent:
            return
        self.messages = 0
        for _ in range(2 * MAX_JOBS):
            self._recover_all()
        assert all(job.status in TERMINAL for job in self.jobs.values())
        self.checked.clear()
        self.the_record_equals_the_model()

    def _recover_all(self) -> None:
        self.time_passes(model.JUMPS[-1])
        for place, job in enumerate(self.jobs.values()):
            if job.status is Status.PAUSED:
                self.resume(place)
        for worker in WORKERS:
            self.worker_heartbeat(worker)
        self.reap()
        self.time_passes(model.JUMPS[0])
        self.republish()
        self.relay(crashes=False)
        while self.messages:
            self.messages -= 1
            self.claim(WORKERS[0])
            while self._running():
                self.finish(0, Status.SUCCEEDED)

    # Helpers

    def _apply(self, expected: Callable[[], Any], actual: Callable[[Session], Any]) -> Any:
        """Apply an action to model and store, compare the results, and return the result."""
        wanted, found = _outcome(expected), _outcome(lambda: self._in_transaction(actual))
        assert found == wanted, (found, wanted)
        return found

    def _in_transaction(self, action: Callable[[Session], Any]) -> Any:
        with self.db.write() as s:
            return action(s)

    def _any(self, pick: int) -> ModelJob:
        return list(self.jobs.values())[pick % len(self.jobs)]

    def _running(self, resumed: bool | None = None) -> list[ModelJob]:
        running = (job for job in self.jobs.values() if job.status is Status.RUNNING)
        return [job for job in running if resumed is None or job.resumed == resumed]

    def _running_job(self, pick: int, resumed: bool | None = None) -> ModelJob:
        found = self._running(resumed)
        return found[pick % len(found)]

    def _claimable(self, job: ModelJob) -> bool:
        return job.status is Status.QUEUED and job.not_before <= self.now

    def _holds(self, job_id: str, attempt: int) -> bool:
        job = self.jobs.get(job_id)
        return job is not None and job.status is Status.RUNNING and job.attempt == attempt

    def _queued_again(self, job: ModelJob) -> None:
        if job.status is not Status.QUEUED:
            return
        self.hints[job.id].append(job.not_before)
        if job.not_before > self.now:
            with self.db.write() as s:
                lengthen_backoff(s, job)


def _outcome(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except (FencedError, InvalidTransitionError, JobNotFoundError) as error:
        return type(error)


def _fenced() -> None:
    raise FencedError


def _last_sent(job: ModelJob) -> float:
    return job.created if job.published is None else job.published


def _error(status: Status) -> dict[str, Any] | None:
    return {**_REASON, "retryable": False, "step": 1} if status is Status.FAILED else None


_WRITES: Final[dict[str, Callable[[Session, str, int], object]]] = {
    "renew": lambda s, job_id, attempt: leases.renew(s, job_id, attempt, LEASE),
    "fence": lambda s, job_id, attempt: leases.fence(s, job_id, attempt, LEASE, step=999),
    "finish": lambda s, job_id, attempt: leases.finish(s, job_id, attempt, Status.SUCCEEDED),
    "release": lambda s, job_id, attempt: leases.release(s, job_id, attempt, crash=True, reason=_REASON),
}
