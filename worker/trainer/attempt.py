"""One attempt of a job: restore a checkpoint, train, record the events, and return how it ended.

This is the only process that trains. Its supervisor starts it, renews its lease and reads its exit code
(`worker.exits`).
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, NoReturn

import structlog
import torch
from pydantic import ValidationError

from gan import datasets
from gan.data import ImageDataset
from gan.datasets import DatasetUnavailableError, uploaded
from gan.events import CheckpointDue, Evaluated, HealthChanged, PreviewReady, Tick
from gan.findings import HealthFinding
from gan.quality.features import FeatureNet
from gan.spec import TrainSpec, check_against, from_record
from gan.spec.pointers import fields_of
from gan.train import DivergedError, StateMismatchError, Trainer
from jobs.db import Database
from jobs.errors import DatasetNotFoundError, FencedError, UnavailableError
from jobs.models import Job
from jobs.runtime.settings import Settings
from jobs.runtime.startup import begin
from jobs.storage import keys, open_storage
from jobs.store import datasets as registered
from jobs.store import jobs, workers
from worker import sandbox
from worker.devices import cpu_name, usable_cores
from worker.exits import FAILURES, Exit, leave_note, leave_reason
from worker.presence import BEAT_SECONDS
from worker.trainer.checkpoints import CheckpointManager, DiskFullError, NoUsableCheckpointError
from worker.trainer.features import FeaturePreparation, StopRequestedError, feature_net
from worker.trainer.fenced_writer import FencedWriter
from worker.trainer.recorder import Recorder

log = structlog.get_logger("gantry.trainer")


class NoDeviceError(Exception):
    """The job needs a GPU, and torch finds none on this host."""


class BadSpecError(Exception):
    """The record holds a spec that this version cannot read."""


class DatasetInvalidError(Exception):
    """The data set is missing, damaged, or not what the spec asks for."""


_EXITS: Final[dict[type[Exception], Exit]] = {
    DivergedError: Exit.DIVERGED,
    DatasetInvalidError: Exit.DATASET_INVALID,
    NoDeviceError: Exit.NO_DEVICE,
    torch.OutOfMemoryError: Exit.OUT_OF_MEMORY,
    MemoryError: Exit.OUT_OF_MEMORY,
    DiskFullError: Exit.DISK_FULL,
    NoUsableCheckpointError: Exit.CHECKPOINT_CORRUPT,
    StateMismatchError: Exit.STATE_MISMATCH,
    BadSpecError: Exit.BAD_SPEC,
}
_EXPECTED: Final = tuple(_EXITS)
_LONGEST_MESSAGE: Final = 500


def main(argv: Sequence[str]) -> int:
    """Run attempt `argv[1]` of job `argv[0]` of tenant `argv[2]`. Returns the exit code."""
    job_id, attempt, tenant = argv[0], int(argv[1]), argv[2]
    settings = begin("trainer")
    sandbox.remove_settings_from_environment()
    structlog.contextvars.bind_contextvars(job_id=job_id, attempt=attempt)
    if not sandbox.enter(settings, tenant, job_id, on_gpu=torch.cuda.is_available()):
        log.info("this kernel has no Landlock: the trainer's writes are not restricted")
    training = TrainingAttempt(settings, tenant, job_id, attempt)
    signal.signal(signal.SIGTERM, lambda *_: training.ask_to_stop())
    return training.run()


class TrainingAttempt:
    """One execution of a job, from its newest good checkpoint to its end or until it is asked to stop."""

    def __init__(self, settings: Settings, tenant: str, job_id: str, attempt: int) -> None:
        self._settings = settings
        self._storage = open_storage(settings)
        self._artifacts = self._storage.artifacts(tenant)
        self._db = Database(settings.database)
        self._writer = FencedWriter(self._db, job_id, attempt, settings.lease_seconds)
        self._recorder = Recorder(self._writer, self._artifacts)
        self._job_id, self._outcome_key = job_id, keys.outcome(job_id, attempt)
        self._checkpoints: CheckpointManager | None = None
        self._stop_requested = self._save_requested = False

    def ask_to_stop(self) -> None:
        """Request a checkpoint and the end of the attempt. Only sets a flag, so it is safe in a signal handler."""
        self._stop_requested = True

    def run(self) -> Exit:
        """Train, and return how the attempt ended. A failure leaves a note for the supervisor.

        An unexpected error is not caught: Python prints its traceback and exits with `Exit.INTERNAL`.
        """
        try:
            return self._train_unless_fenced()
        except FencedError as error:
            log.warning("stopped: another attempt owns the job", reason=str(error))
            self._tidy()
            return Exit.STOPPED
        except StopRequestedError:
            log.info("stopped as asked, before the first step")
            return Exit.STOPPED
        except _EXPECTED as error:
            return self._fail(_EXITS[next(kind for kind in _EXPECTED if isinstance(error, kind))], error)
        except RuntimeError as error:
            # torch has an exception class for GPU memory, but only a message for CPU memory.
            if "can't allocate memory" not in str(error):
                raise
            return self._fail(Exit.OUT_OF_MEMORY, error)
        finally:
            self._finish_writes()

    def _finish_writes(self) -> None:
        """Wait until all pending writes are done, or known to have failed."""
        if self._checkpoints is not None:
            self._checkpoints.close()
        self._writer.close()

    def _train_unless_fenced(self) -> Exit:
        """Call `_train`. Raises `FencedError` if a successor deleted a file while it was being written."""
        try:
            return self._train()
        except FileNotFoundError:
            self._writer.write()
            raise

    def _train(self) -> Exit:
        job = self._open()
        spec = _spec(job)
        device, name = _device(spec)
        data = self._data(job, spec)
        checkpoints = self._checkpoints = CheckpointManager(self._writer, self._artifacts, spec.checkpoints.keep_last)
        checkpoints.tidy()
        state = checkpoints.restore()
        self._set_threads(job, None if state is None else state["versions"].get("threads"))
        net = self._features(job, data.to(device)) if spec.evaluation.enabled else None
        trainer = Trainer(spec, data, device, state, features=net)
        self._recorder.begin(trainer, name)
        return self._run(trainer, checkpoints)

    def _run(self, trainer: Trainer, checkpoints: CheckpointManager) -> Exit:
        for event in trainer.run(stop=lambda: self._between_steps(trainer, checkpoints)):
            match event:
                case Tick():
                    requests = self._recorder.tick(event)
                    self._save_requested = requests.checkpoint
                    self._stop_requested |= requests.stop
                case PreviewReady():
                    self._recorder.preview(event)
                case Evaluated():
                    self._recorder.evaluation(event)
                case HealthChanged():
                    self._recorder.health(event)
                case CheckpointDue():
                    metrics = self._recorder.at(trainer.step)
                    checkpoints.save(trainer, metrics, final=event.final, best=event.best)
        if not trainer.finished:
            checkpoints.save(trainer, self._recorder.at(trainer.step))
            checkpoints.finish()
            log.info("stopped as asked", step=trainer.step)
            return Exit.STOPPED
        return self._finished(trainer)

    def _between_steps(self, trainer: Trainer, checkpoints: CheckpointManager) -> bool:
        """Save a checkpoint if one was requested. Returns whether to stop.

        It is called when all events of a step are recorded, so that a later attempt can continue from this step.
        """
        checkpoints.raise_if_failed()
        if self._save_requested and checkpoints.has_room and checkpoints.is_idle:
            checkpoints.save(trainer, self._recorder.at(trainer.step))
            self._save_requested = False
        return self._stop_requested

    def _finished(self, trainer: Trainer) -> Exit:
        if trainer.ended_early is None:
            log.info("trained to the end", step=trainer.step)
            return Exit.SUCCEEDED
        log.info("ended early", step=trainer.step, why=trainer.ended_early)
        self._leave(lambda: leave_reason(self._artifacts, self._outcome_key, str(trainer.ended_early)))
        return Exit.STOPPED_EARLY

    def _open(self) -> Job:
        """Return the job, after a fenced write has shown that this attempt owns it."""
        self._writer.write()
        self._artifacts.sweep_unfinished(self._job_id)
        return self._writer.read(lambda s: jobs.get(s, self._job_id))

    def _data(self, job: Job, spec: TrainSpec) -> ImageDataset:
        """Return the job's images, checked against the spec. Raises `DatasetInvalidError`."""
        try:
            row = self._writer.read(lambda s: registered.of_job(s, job))
            if row.uploaded:
                with self._storage.datasets(row.tenant).local_folder(keys.images(row.id, row.attempt)) as folder:
                    data = uploaded.load(folder, registered.info(row))
            else:
                data = datasets.load(job.dataset)
            check_against(spec, data.info)
        except (DatasetUnavailableError, DatasetNotFoundError, ValueError) as error:
            raise DatasetInvalidError(str(error)) from error
        return data

    def _set_threads(self, job: Job, before: int | None) -> None:
        """Set the number of CPU threads: the setting, else the checkpoint's (`before`), else a share of the cores.

        A job keeps its number of threads, because with another one the last bits of sums differ.
        """
        worker, cores = str(job.lease_owner), usable_cores()
        sharing = self._writer.read(lambda s: workers.count_on_host(s, worker, 2 * BEAT_SECONDS))
        # Two trainers with one thread for each core would be several times slower than with fewer.
        part = max(1, cores // sharing)
        threads = self._settings.trainer_threads or (part if before is None else min(before, cores))
        torch.set_num_threads(threads)
        if before not in (None, threads):
            log.info(
                "the number of threads differs from the checkpoint's: the last bits of sums on a CPU differ",
                then=before,
            )

    def _features(self, job: Job, data: ImageDataset) -> FeatureNet:
        preparation = FeaturePreparation(self._writer, job, stop=lambda: self._stop_requested)
        return feature_net(data, self._settings.features_dir, preparation)

    def _tidy(self) -> None:
        """Delete the files of this attempt that no row names."""
        self._finish_writes()
        try:
            CheckpointManager(self._writer, self._artifacts, 0).tidy_after_all(self._db)
        except UnavailableError as error:
            log.warning("files of this attempt are left for the sweeper", reason=str(error))

    def _fail(self, code: Exit, error: Exception) -> Exit:
        message = str(error).strip()[:_LONGEST_MESSAGE] or FAILURES[code].message
        log.error(message, code=code.name.lower())
        failure = replace(FAILURES[code], message=message, step=self._recorder.step)
        if isinstance(error, DivergedError):
            hint = _hint(self._job_id, self._recorder.findings) or failure.hint
            failure = replace(failure, step=error.step, hint=hint)
        self._leave(lambda: leave_note(self._artifacts, self._outcome_key, failure))
        return code

    def _leave(self, write_note: Callable[[], None]) -> None:
        try:
            write_note()
        except OSError as no_note:
            # The exit code still tells what happened; the note only adds details.
            log.warning("the note could not be written", error=str(no_note))


def _hint(job_id: str, findings: Iterable[HealthFinding]) -> str | None:
    """Return the remedy of the worst finding as a hint; None if no critical finding has one."""
    worst = next((found for found in findings if found.severity == "critical" and found.remedy), None)
    if worst is None:
        return None
    words = (f"{'.'.join(fields_of(r.pointer))} to {json.dumps(r.value)}" for r in worst.remedy)
    return f"Set {', '.join(words)}: `gantry submit --from {job_id} --remedy {worst.code}` does."


def _spec(job: Job) -> TrainSpec:
    """Return the job's spec. Raises `BadSpecError`."""
    try:
        return from_record(job.spec)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadSpecError(f"This worker cannot read the job's spec: {where}: {first['msg']}.") from error


def _device(spec: TrainSpec) -> tuple[torch.device, str]:
    """Return the device to train on and its name for people. Raises `NoDeviceError`."""
    if torch.cuda.is_available():
        return torch.device("cuda:0"), f"cuda:0 {torch.cuda.get_device_name(0)}"
    if spec.resources.gpus:
        raise NoDeviceError(
            "The job needs a GPU, and torch finds none on this worker: its CUDA build or driver is missing."
        )
    return torch.device("cpu"), cpu_name()


def leave(code: int) -> NoReturn:
    """End this process at once. torch needs a second or more to shut down, and everything is written already."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)
