"""The supervisor: claims the best job, starts its trainer, renews the lease, and records how the attempt ended.

    claim -> start the trainer -> heartbeat, heartbeat, ... -> the trainer exits -> finish or release

This process loads no torch. The trainer is a process of its own, so that its CUDA context and memory end with it.
Times in the record are the database's. This process measures only the time since its last heartbeat (`Watchdog`).
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import structlog

from jobs import leases
from jobs.db import Database, Session
from jobs.errors import FencedError, UnavailableError
from jobs.leases import JobRequests
from jobs.models import Job
from jobs.runtime import failpoints
from jobs.runtime.settings import Settings
from jobs.status import Status
from jobs.storage import keys, open_storage
from jobs.store import jobs, workers
from worker.exits import TRY_AGAIN, Exit, Failure, read_note, read_reason, unexpected_end
from worker.tail import last_line
from worker.trainer_process import ForkServer, TrainerProcess
from worker.watchdog import Watchdog

log = structlog.get_logger("gantry.supervise")

BEAT_SECONDS: Final = 1.0
"""Longest time between two heartbeats, in s. A cancel takes effect within it."""


@dataclass(frozen=True)
class Identity:
    """A worker: its id, the device that its trainers use, and how many GPUs that is (0 or 1)."""

    worker_id: str
    device: str
    gpus: int


class EndReason(StrEnum):
    """Why a supervisor stops its trainer."""

    CANCEL = "cancel"
    PAUSE = "pause"
    OVERDUE = "overdue"
    DRAIN = "drain"
    STALL = "stall"
    FENCED = "fenced"


def run_one_job(settings: Settings, db: Database, identity: Identity, fork_server: ForkServer) -> str | None:
    """Claim the best job and run one attempt of it to its end. Returns the job's id; None if there is no job.

    Raises `UnavailableError` only if no job was claimed yet.
    """
    sent = time.monotonic()
    with db.write() as s:
        if workers.is_draining(s, identity.worker_id):
            return None
        job = leases.claim(s, identity.worker_id, identity.device, identity.gpus, settings.lease_seconds)
        if job is None:
            return None
        workers.set_current_job(s, identity.worker_id, job.id)
    failpoints.passed("claim.committed")
    log.info("claimed", job_id=job.id, attempt=job.attempt, device=identity.device)
    Supervisor(settings, db, identity.worker_id, fork_server, job).run(claimed_at=sent)
    return job.id


_GIVEN_BACK: Final = {
    EndReason.DRAIN: ("worker_draining", "The worker was shut down; the job continues on another worker."),
    # The record decides the next status: the pause may have been taken back meanwhile.
    EndReason.PAUSE: ("paused", "A pause was requested and taken back; the job continues."),
    EndReason.OVERDUE: ("max_runtime_exceeded", "The job reached its maximum running time."),
}
"""The code and message for each stop that is not the trainer's fault."""


class Supervisor:
    """One attempt of one job, from the claim to the record of its end."""

    def __init__(self, settings: Settings, db: Database, worker_id: str, fork_server: ForkServer, job: Job) -> None:
        self._settings, self._db, self._worker_id = settings, db, worker_id
        self._fork_server = fork_server
        self._job, self._attempt = job, job.attempt
        self._artifacts = open_storage(settings).artifacts(job.tenant)
        self._beat_seconds = min(BEAT_SECONDS, settings.lease_seconds / 4)
        self._why: EndReason | None = None
        self._kill_at: float | None = None
        self._progress_at: float | None = None
        self._progress_seen = time.monotonic()
        self._log = log.bind(job_id=job.id, attempt=job.attempt)

    def run(self, claimed_at: float) -> None:
        """Run the trainer to its end and record how it ended.

        `claimed_at` is the monotonic time before the claim was sent. An unexpected error releases the job before it
        is raised again.
        """
        try:
            returncode, self_fenced = self._run(claimed_at)
            self._log.info("trainer ended", returncode=returncode, why=self._why)
            self._report(self._end(returncode, self_fenced))
        except Exception:
            # Otherwise the job would count as running, and the worker as busy, until the lease expires.
            self._log.exception("the supervisor failed; the attempt is released")
            self._report(self._gave_up())
            raise

    def _run(self, claimed_at: float) -> tuple[int, bool]:
        """Return the trainer's exit code, and whether the watchdog killed it. No trainer outlives this call."""
        with self._artifacts.live_file(self._log_key) as log_path:
            process = self._start(log_path)
            watchdog = Watchdog(process, leases.HOLD_SHARE * self._settings.lease_seconds, claimed_at)
            watchdog.start()
            try:
                return self._wait_with_heartbeats(process, watchdog), watchdog.fired
            finally:
                watchdog.stop()
                process.end()

    def _start(self, log_path: Path) -> TrainerProcess:
        process = self._fork_server.start(self._settings, self._job.tenant, self._job.id, self._attempt, log_path)
        failpoints.passed("trainer.spawned")
        return process

    def _wait_with_heartbeats(self, process: TrainerProcess, watchdog: Watchdog) -> int:
        while True:
            try:
                return process.wait(timeout=self._beat_seconds)
            except subprocess.TimeoutExpired:
                self._beat(process, watchdog)
            if self._kill_at is not None and time.monotonic() > self._kill_at:
                self._log.warning("the trainer did not stop within its grace and is killed")
                process.kill()

    def _beat(self, process: TrainerProcess, watchdog: Watchdog) -> None:
        sent = time.monotonic()
        try:
            with self._db.write() as s:
                requests = leases.renew(s, self._job.id, self._attempt, self._settings.lease_seconds)
                draining = workers.is_draining(s, self._worker_id)
                progress_at = jobs.get(s, self._job.id).progress_at
        except FencedError:
            self._why = EndReason.FENCED
            process.kill()
            return
        except UnavailableError as error:
            # The watchdog decides when this has lasted too long. A trainer that cannot report has not stalled.
            self._log.warning("heartbeat failed", error=str(error))
            self._progress_seen = time.monotonic()
            return
        watchdog.feed(sent)
        if (why := _stop_reason(requests, draining)) is not None:
            self._ask_to_stop(process, why)
        elif self._stalled(progress_at):
            self._why = EndReason.STALL
            process.kill()

    def _ask_to_stop(self, process: TrainerProcess, why: EndReason) -> None:
        """Send SIGTERM once; after the grace period the trainer is killed. A later reason replaces the first."""
        self._why = why
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self._settings.grace_seconds
            process.send_signal(signal.SIGTERM)

    def _stalled(self, progress_at: float | None) -> bool:
        if progress_at != self._progress_at:
            self._progress_at, self._progress_seen = progress_at, time.monotonic()
        return time.monotonic() - self._progress_seen > self._settings.stall_seconds

    def _end(self, returncode: int, self_fenced: bool) -> Callable[[Session], object] | None:
        """Return the write that records this end; None if the attempt no longer owns the job."""
        if self._why is EndReason.FENCED:
            return None
        if returncode == Exit.SUCCEEDED:
            return self._finish(Status.SUCCEEDED)
        if returncode == Exit.STOPPED_EARLY:
            return self._finish(Status.SUCCEEDED, reason=read_reason(self._artifacts, self._outcome_key))
        if self._why is EndReason.CANCEL:
            return self._finish(Status.CANCELLED)
        if self._why is EndReason.STALL:
            seconds = self._settings.stall_seconds
            return self._release("stalled", f"The trainer made no progress for {seconds:g} s.", crash=True)
        if self_fenced:
            return self._release("database_lost", "The worker could not reach the database and ended the attempt.")
        if self._why in _GIVEN_BACK and returncode in (Exit.STOPPED, -signal.SIGTERM, -signal.SIGKILL):
            return self._release(*_GIVEN_BACK[self._why])
        if returncode == Exit.STOPPED:
            return self._release("trainer_stopped", "The trainer was stopped; the job continues later.")
        return self._failed(returncode)

    def _failed(self, returncode: int) -> Callable[[Session], object]:
        line = last_line(self._artifacts, self._log_key)
        if returncode not in set(Exit):
            failure, final = unexpected_end(returncode, line), False
        else:
            code = Exit(returncode)
            failure = read_note(self._artifacts, self._outcome_key, code)
            final = code not in TRY_AGAIN
            if code is Exit.INTERNAL and line:
                failure = Failure("internal", f"The trainer stopped with an error: {line}", True, hint=failure.hint)
        last = self._job.crashes + 1 >= self._job.max_attempts
        if final or (last and returncode in (Exit.OUT_OF_MEMORY, Exit.DISK_FULL)):
            return self._finish(Status.FAILED, failure.error())
        return self._release(failure.code, failure.message, crash=True, hint=failure.hint)

    def _gave_up(self) -> Callable[[Session], object]:
        message = "The worker failed and ended the attempt."
        hint = "The worker's log holds the traceback; please report it."
        return self._release("supervisor_error", message, crash=True, hint=hint)

    @property
    def _log_key(self) -> str:
        return keys.log(self._job.id, self._attempt)

    @property
    def _outcome_key(self) -> str:
        return keys.outcome(self._job.id, self._attempt)

    def _finish(
        self, status: Status, error: dict[str, Any] | None = None, reason: dict[str, Any] | None = None
    ) -> Callable[[Session], object]:
        return lambda s: leases.finish(s, self._job.id, self._attempt, status, error, reason)

    def _release(
        self, code: str, message: str, *, crash: bool = False, hint: str | None = None
    ) -> Callable[[Session], object]:
        reason = {"code": code, "message": message}
        return lambda s: leases.release(s, self._job.id, self._attempt, crash=crash, reason=reason, hint=hint)

    def _report(self, end: Callable[[Session], object] | None) -> None:
        """Write the end of the attempt, as soon as the database answers, and that this worker is idle.

        If another attempt owns the job by then, only the latter is written.
        """
        pause = 0.1
        while True:
            try:
                with self._db.write() as s:
                    if end is not None:
                        end(s)
                    workers.set_current_job(s, self._worker_id, None)
                    failpoints.passed("end.before_commit")
                failpoints.passed("end.committed")
                return
            except FencedError:
                self._log.warning("another attempt owns the job; this end is not written")
                end = None
            except UnavailableError as error:
                self._log.warning("the end cannot be written yet", error=str(error))
                time.sleep(pause)
                pause = min(5.0, pause * 2)


def _stop_reason(requests: JobRequests, draining: bool) -> EndReason | None:
    """Return why the trainer must stop; None if it may go on."""
    requested = {
        EndReason.CANCEL: requests.cancel,
        EndReason.OVERDUE: requests.overdue,
        EndReason.PAUSE: requests.pause,
        EndReason.DRAIN: draining,
    }
    return next((why for why, asked in requested.items() if asked), None)
