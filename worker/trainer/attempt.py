"""One attempt: `python -m worker.trainer JOB ATTEMPT TENANT`. Restore, train, write what happens, say how it ended.

The only process that learns. Its supervisor starts it, keeps its lease, and reads its exit code (`worker.exits`).
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
    """The job needs a GPU, and torch finds none here."""


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
_FORESEEN: Final = tuple(_EXITS)
_LONGEST_MESSAGE: Final = 500


def main(argv: Sequence[str]) -> int:
    """Carry attempt `argv[1]` of job `argv[0]`, which is `argv[2]`'s; its exit code."""
    job_id, attempt, tenant = argv[0], int(argv[1]), argv[2]
    settings = begin("trainer")
    sandbox.forget()
    structlog.contextvars.bind_contextvars(job_id=job_id, attempt=attempt)
    if not sandbox.enter(settings, tenant, job_id, on_gpu=torch.cuda.is_available()):
        log.info("this kernel has no Landlock: the trainer is not held to its folders")
    run = TrainingAttempt(settings, tenant, job_id, attempt)
    signal.signal(signal.SIGTERM, lambda *_: run.ask_to_stop())
    return run.run()


class TrainingAttempt:
    """One execution of a job, from its newest good checkpoint to its end, or to the moment it is asked to stop."""

    def __init__(self, settings: Settings, tenant: str, job_id: str, attempt: int) -> None:
        self._settings = settings
        self._storage = open_storage(settings)
        self._artifacts = self._storage.artifacts(tenant)
        self._db = Database(settings.database)
        self._writer = FencedWriter(self._db, job_id, attempt, settings.lease_seconds)
        self._report = Recorder(self._writer, self._artifacts)
        self._job_id, self._outcome_key = job_id, keys.outcome(job_id, attempt)
        self._checkpoints: CheckpointManager | None = None
        self._asked_to_stop = self._asked_to_save = False

    def ask_to_stop(self) -> None:
        """Save a checkpoint after the next tick and leave. Only sets a flag: safe in a signal's handler."""
        self._asked_to_stop = True

    def run(self) -> Exit:
        """Train, and say how it ended; an end in failure leaves a note for the supervisor.

        An error that nobody foresaw passes through: Python prints its traceback and returns `Exit.INTERNAL`.
        """
        try:
            return self._train_in_peace()
        except FencedError as error:
            log.warning("stopped: the job is no longer this attempt's", reason=str(error))
            self._tidy()
            return Exit.STOPPED
        except StopRequestedError:
            log.info("stopped as asked, before the first step")
            return Exit.STOPPED
        except _FORESEEN as error:
            return self._fail(_EXITS[next(kind for kind in _FORESEEN if isinstance(error, kind))], error)
        except RuntimeError as error:
            # torch has a class for a GPU's memory, and only words for a processor's.
            if "can't allocate memory" not in str(error):
                raise
            return self._fail(Exit.OUT_OF_MEMORY, error)
        finally:
            self._settle()

    def _settle(self) -> None:
        """Have all written that is under way; what comes too late for that is known to be left out."""
        if self._checkpoints is not None:
            self._checkpoints.close()
        self._writer.close()

    def _train_in_peace(self) -> Exit:
        """As `_train`. Raises `FencedError` where a file has gone while it was written, by a successor's sweep."""
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
        self._take_threads(job, None if state is None else state["versions"].get("threads"))
        net = self._features(job, data.to(device)) if spec.evaluation.enabled else None
        trainer = Trainer(spec, data, device, state, features=net)
        self._report.begin(trainer, name)
        return self._run(trainer, checkpoints)

    def _run(self, trainer: Trainer, checkpoints: CheckpointManager) -> Exit:
        for event in trainer.run(stop=lambda: self._between_steps(trainer, checkpoints)):
            match event:
                case Tick():
                    orders = self._report.tick(event)
                    self._asked_to_save = orders.checkpoint
                    self._asked_to_stop |= orders.stop
                case PreviewReady():
                    self._report.preview(event)
                case Evaluated():
                    self._report.evaluation(event)
                case HealthChanged():
                    self._report.health(event)
                case CheckpointDue():
                    metrics = self._report.at(trainer.step)
                    checkpoints.save(trainer, metrics, final=event.final, best=event.best)
        if not trainer.finished:
            checkpoints.save(trainer, self._report.at(trainer.step))
            checkpoints.finish()
            log.info("stopped as asked", step=trainer.step)
            return Exit.STOPPED
        return self._finished(trainer)

    def _between_steps(self, trainer: Trainer, checkpoints: CheckpointManager) -> bool:
        """Whether to stop. Asked once all of a step is told, so that whoever goes on from there misses nothing: the
        moment, too, to save a checkpoint that somebody has asked for.
        """
        checkpoints.look()
        if self._asked_to_save and checkpoints.has_room and checkpoints.is_idle:
            checkpoints.save(trainer, self._report.at(trainer.step))
            self._asked_to_save = False
        return self._asked_to_stop

    def _finished(self, trainer: Trainer) -> Exit:
        if trainer.ended_early is None:
            log.info("trained to the end", step=trainer.step)
            return Exit.SUCCEEDED
        log.info("ended early", step=trainer.step, why=trainer.ended_early)
        self._say(lambda: leave_reason(self._artifacts, self._outcome_key, str(trainer.ended_early)))
        return Exit.STOPPED_EARLY

    def _open(self) -> Job:
        """The job, once it is certain that it is ours."""
        self._writer.write()
        self._artifacts.sweep_unfinished(self._job_id)
        return self._writer.read(lambda s: jobs.get(s, self._job_id))

    def _data(self, job: Job, spec: TrainSpec) -> ImageDataset:
        """The job's images, which are such as the spec wants. Raises `DatasetInvalidError`."""
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

    def _take_threads(self, job: Job, before: int | None) -> None:
        """As many as are ours: asked for, or the job's so far (with others, sums differ in their last bits), or our
        part of the host's cores. `before` is the checkpoint's.
        """
        worker, cores = str(job.lease_owner), usable_cores()
        sharing = self._writer.read(lambda s: workers.count_on_host(s, worker, 2 * BEAT_SECONDS))
        # Two trainers with a thread a core each would be several times slower than with one.
        part = max(1, cores // sharing)
        threads = self._settings.trainer_threads or (part if before is None else min(before, cores))
        torch.set_num_threads(threads)
        if before not in (None, threads):
            log.info("other threads than the checkpoint's: a CPU's sums differ in their last bits", then=before)

    def _features(self, job: Job, data: ImageDataset) -> FeatureNet:
        preparation = FeaturePreparation(self._writer, job, stop=lambda: self._asked_to_stop)
        return feature_net(data, self._settings.features_dir, preparation)

    def _tidy(self) -> None:
        """Leave no file behind that nobody will register."""
        self._settle()
        try:
            CheckpointManager(self._writer, self._artifacts, 0).tidy_after_all(self._db)
        except UnavailableError as error:
            log.warning("what this attempt has left behind is for the sweeper", reason=str(error))

    def _fail(self, code: Exit, error: Exception) -> Exit:
        message = str(error).strip()[:_LONGEST_MESSAGE] or FAILURES[code].message
        log.error(message, code=code.name.lower())
        failure = replace(FAILURES[code], message=message, step=self._report.step)
        if isinstance(error, DivergedError):
            hint = _hint(self._job_id, self._report.findings) or failure.hint
            failure = replace(failure, step=error.step, hint=hint)
        self._say(lambda: leave_note(self._artifacts, self._outcome_key, failure))
        return code

    def _say(self, last_words: Callable[[], None]) -> None:
        try:
            last_words()
        except OSError as no_note:
            # The exit code still says what happened; the note only says it better.
            log.warning("no note could be left", error=str(no_note))


def _hint(job_id: str, findings: Iterable[HealthFinding]) -> str | None:
    """The remedy of the worst finding, as something to do; None where none has one."""
    worst = next((found for found in findings if found.severity == "critical" and found.remedy), None)
    if worst is None:
        return None
    words = (f"{'.'.join(fields_of(r.pointer))} to {json.dumps(r.value)}" for r in worst.remedy)
    return f"Set {', '.join(words)}: `gantry submit --from {job_id} --remedy {worst.code}` does."


def _spec(job: Job) -> TrainSpec:
    """What the job asks for. Raises `BadSpecError`."""
    try:
        return from_record(job.spec)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadSpecError(f"This worker cannot read the job's spec: {where}: {first['msg']}.") from error


def _device(spec: TrainSpec) -> tuple[torch.device, str]:
    """Where to train, and its name for people. Raises `NoDeviceError`."""
    if torch.cuda.is_available():
        return torch.device("cuda:0"), f"cuda:0 {torch.cuda.get_device_name(0)}"
    if spec.resources.gpus:
        raise NoDeviceError(
            "The job needs a GPU, and torch finds none on this worker: its CUDA build or driver is missing."
        )
    return torch.device("cpu"), cpu_name()


def leave(code: int) -> NoReturn:
    """End this process now. Torch takes a second or more to take itself down, and all that matters is written."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)
