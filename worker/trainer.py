"""One attempt: `python -m worker.trainer JOB ATTEMPT`. Restore, train, write what happens, and say how it ended.

The only process that learns. Its supervisor starts it, keeps its lease, and reads its exit code (`worker.exits`).
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NoReturn

import structlog
import torch
from pydantic import ValidationError

from gan import datasets
from gan.data import ImageDataset
from gan.datasets import DatasetUnavailable
from gan.events import CheckpointDue, PreviewReady, Tick
from gan.sample import grid_png
from gan.spec import TrainSpec, check_against
from gan.train import Diverged, StateMismatch, Trainer
from jobs import leases
from jobs.artifacts import Artifacts
from jobs.db import Database, Session
from jobs.errors import Fenced
from jobs.models import Job
from jobs.settings import Settings
from jobs.startup import begin
from jobs.store import jobs, metrics, previews
from worker.devices import cpu_name, usable_cores
from worker.exits import FAILURES, Exit, leave_note
from worker.journal import Journal
from worker.keeper import DiskFull, Keeper, NothingToGoOnFrom, no_room

log = structlog.get_logger("gantry.trainer")


class NoDevice(Exception):
    """The job needs a GPU, and torch finds none here."""


class BadSpec(Exception):
    """The record holds a spec that this version cannot read."""


class DatasetInvalid(Exception):
    """The data set is missing, damaged, or not what the spec asks for."""


_EXITS: Final[dict[type[Exception], Exit]] = {
    Diverged: Exit.DIVERGED,
    DatasetInvalid: Exit.DATASET_INVALID,
    NoDevice: Exit.NO_DEVICE,
    torch.OutOfMemoryError: Exit.OUT_OF_MEMORY,
    MemoryError: Exit.OUT_OF_MEMORY,
    DiskFull: Exit.DISK_FULL,
    NothingToGoOnFrom: Exit.CHECKPOINT_CORRUPT,
    StateMismatch: Exit.STATE_MISMATCH,
    BadSpec: Exit.BAD_SPEC,
}
_FORESEEN: Final = tuple(_EXITS)
_LONGEST_MESSAGE: Final = 500


def main(argv: Sequence[str]) -> int:
    """Carry attempt `argv[1]` of job `argv[0]`; its exit code."""
    job_id, attempt = argv[0], int(argv[1])
    settings = begin("trainer")
    structlog.contextvars.bind_contextvars(job_id=job_id, attempt=attempt)
    torch.set_num_threads(settings.trainer_threads or usable_cores())
    run = Attempt(settings, job_id, attempt)
    signal.signal(signal.SIGTERM, lambda *_: run.ask_to_stop())
    return run.carry()


class Attempt:
    """One execution of a job, from its newest good checkpoint to its end, or to the moment it is asked to stop."""

    def __init__(self, settings: Settings, job_id: str, attempt: int) -> None:
        self._artifacts = Artifacts(settings.artifacts_dir)
        self._journal = Journal(Database(settings.database), job_id, attempt, settings.lease_seconds)
        self._job_id, self._attempt = job_id, attempt
        self._latest: dict[str, float | None] = {}
        self._step: int | None = None
        self._asked_to_stop = False

    def ask_to_stop(self) -> None:
        """Save a checkpoint after the next tick and leave. Only sets a flag: safe in a signal's handler."""
        self._asked_to_stop = True

    def carry(self) -> Exit:
        """Train, and say how it ended; an end in failure leaves a note for the supervisor.

        An error that nobody foresaw passes through: Python prints its traceback and returns `Exit.INTERNAL`.
        """
        try:
            return self._train()
        except Fenced as error:
            log.warning("stopped: the job is no longer this attempt's", reason=str(error))
            return Exit.STOPPED
        except _FORESEEN as error:
            return self._fail(_EXITS[next(kind for kind in _FORESEEN if isinstance(error, kind))], error)
        except RuntimeError as error:
            # torch has a class for a GPU's memory, and only words for a processor's.
            if "can't allocate memory" not in str(error):
                raise
            return self._fail(Exit.OUT_OF_MEMORY, error)

    def _train(self) -> Exit:
        job = self._open()
        spec = _spec(job)
        device, name = _device(spec)
        data = _data(job, spec)
        keeper = Keeper(self._journal, self._artifacts, spec.checkpoints.keep_last)
        keeper.tidy()
        trainer = Trainer(spec, data, device, keeper.restore())
        self._begin(trainer, name)
        return self._run(trainer, keeper)

    def _run(self, trainer: Trainer, keeper: Keeper) -> Exit:
        for event in trainer.run(stop=lambda: self._asked_to_stop):
            match event:
                case Tick():
                    orders = self._write_tick(event)
                    if orders.cancel:
                        self.ask_to_stop()
                    if orders.checkpoint and keeper.has_room:
                        keeper.save(trainer, self._latest)
                case PreviewReady():
                    self._write_preview(event)
                case CheckpointDue():
                    keeper.save(trainer, self._latest, final=event.final)
        if trainer.step < trainer.spec.total_steps:
            keeper.save(trainer, self._latest)
            log.info("stopped as asked", step=trainer.step)
            return Exit.STOPPED
        log.info("trained to the end", step=trainer.step)
        return Exit.SUCCEEDED

    def _open(self) -> Job:
        """The job, once it is certain that it is ours."""
        self._journal.write()
        self._artifacts.sweep_unfinished(self._job_id)
        return self._journal.read(lambda s: jobs.get(s, self._job_id))

    def _begin(self, trainer: Trainer, device: str) -> None:
        """Say where this attempt goes on from: what an earlier one wrote past it is superseded from now on."""

        def resumed(s: Session) -> None:
            leases.resumed(s, self._job_id, self._attempt, trainer.step)

        self._journal.write(resumed, step=trainer.step, images_seen=trainer.images_seen, device=device)
        log.info("training", device=device, from_step=trainer.step, threads=torch.get_num_threads())

    def _write_tick(self, tick: Tick) -> leases.Orders:
        self._step = tick.step
        self._latest = {name: metrics.plain(v) for name, v in zip(tick.names, tick.values[-1], strict=True)}

        def append(s: Session) -> None:
            metrics.append(s, self._job_id, self._attempt, tick.first_step, tick.names, tick.values)

        return self._journal.write(
            append,
            step=tick.step,
            images_seen=tick.images_seen,
            images_per_second=tick.images_per_second,
            latest_metrics=self._latest,
        )

    def _write_preview(self, preview: PreviewReady) -> None:
        key = Artifacts.preview_key(self._job_id, preview.step, self._attempt)
        try:
            stored = self._artifacts.write(key, grid_png(preview.images, preview.rows, preview.row_labels))
        except OSError as error:
            if not no_room(error):
                raise
            log.warning("no room for a preview; it is left out", step=preview.step)
            return

        def register(s: Session) -> None:
            previews.register(s, self._job_id, self._attempt, preview.step, stored)

        self._journal.write(register)

    def _fail(self, code: Exit, error: Exception) -> Exit:
        message = str(error).strip()[:_LONGEST_MESSAGE] or FAILURES[code].message
        log.error(message, code=code.name.lower())
        step = error.step if isinstance(error, Diverged) else self._step
        try:
            key = Artifacts.outcome_key(self._job_id, self._attempt)
            leave_note(self._artifacts, key, replace(FAILURES[code], message=message, step=step))
        except OSError as no_note:
            # The exit code still says what happened; the note only says it better.
            log.warning("no note could be left", error=str(no_note))
        return code


def _spec(job: Job) -> TrainSpec:
    """What the job asks for. Raises `BadSpec`."""
    try:
        return TrainSpec.model_validate_json(json.dumps(job.spec))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadSpec(f"This worker cannot read the job's spec: {where}: {first['msg']}.") from error


def _data(job: Job, spec: TrainSpec) -> ImageDataset:
    """The job's images, which are such as the spec wants. Raises `DatasetInvalid`."""
    try:
        data = datasets.load(job.dataset)
        check_against(spec, data.info)
    except (DatasetUnavailable, ValueError) as error:
        raise DatasetInvalid(str(error)) from error
    return data


def _device(spec: TrainSpec) -> tuple[torch.device, str]:
    """Where to train, and its name for people. Raises `NoDevice`."""
    if torch.cuda.is_available():
        return torch.device("cuda:0"), f"cuda:0 {torch.cuda.get_device_name(0)}"
    if spec.resources.gpus:
        raise NoDevice(
            "The job needs a GPU, and torch finds none on this worker: its CUDA build or driver is missing."
        )
    return torch.device("cpu"), cpu_name()


def leave(code: int) -> NoReturn:
    """End this process now. Torch takes a second or more to take itself down, and all that matters is written."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
