"""Bodies of small jobs, and functions that observe a job and its trainer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from gan import datasets
from gan.events import Evaluated, Tick
from gan.quality.evaluate import EvaluationResult
from gan.quality.features import for_dataset
from gan.spec import TrainSpec, resolve
from gan.train import Trainer
from jobs import leases
from jobs.db import Database
from jobs.models import Job, JobEvent
from jobs.runtime.settings import Settings
from jobs.store import events, jobs
from tests.jobs.helpers import files_of, submit
from worker.supervise import Identity
from worker.trainer.checkpoints import CheckpointManager
from worker.trainer.fenced_writer import FencedWriter

ENDLESS: Final = 400_000
WORKER: Final = Identity("worker-of-the-test", "cpu", 0)


def tiny(**changes: Any) -> dict[str, Any]:
    """Return the body of a job that takes a second: small fully connected networks, without evaluations."""
    body: dict[str, Any] = {
        "dataset": "fashion-mnist-mini",
        "preset": "goodfellow2014-ns",
        "total_steps": 60,
        "batch_size": 8,
        "generator": {"hidden_units": 8, "z_dim": 4},
        "discriminator": {"hidden_units": 8},
        "previews": {"every_steps": 50, "per_class": 1},
        "checkpoints": {"every_steps": 20, "keep_last": 2},
        "evaluation": {"enabled": False},
    }
    return body | changes


def with_evaluations(**changes: Any) -> dict[str, Any]:
    """Return the body of a tiny job with an evaluation and a health check every 20 steps."""
    evaluation = {"every_steps": 20, "images": 100}
    safeguards = {"every_steps": 20, "probe_every_steps": 20, "thresholds": {"warm_up_images": 0}}
    return tiny(**{"evaluation": evaluation, "safeguards": safeguards, **changes})


def endless(**changes: Any) -> dict[str, Any]:
    """Return the body of a job that trains until it is stopped and saves only on request."""
    rarely = {"every_steps": ENDLESS}
    return tiny(total_steps=ENDLESS, previews=rarely | {"per_class": 1}, checkpoints=rarely, **changes)


def job_of(db: Database, job_id: str) -> Job:
    """Return the job's current row."""
    with db.read() as s:
        return jobs.get(s, job_id)


def events_of(db: Database, job_id: str) -> list[JobEvent]:
    """Return all events of the job, in order."""
    with db.read() as s:
        return events.page(s, job_id, 0, 10_000)


def until(met: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until `met` returns true. Raises `AssertionError` after `seconds`."""
    give_up = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < give_up, "the condition was not met in time"
        time.sleep(0.03)


def has_trained(db: Database, job_id: str) -> Callable[[], bool]:
    """Return a condition for `until`: the job has a recorded step."""
    return lambda: job_of(db, job_id).step > 0


def trainer_pids(job_id: str) -> list[int]:
    """Return the ids of the processes that train this job."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended during the search
        if b"worker.trainer" in words and job_id.encode() in words:
            found.append(int(folder.name))
    return found


@dataclass(frozen=True)
class UninterruptedRun:
    """The results of a run without interruptions, on one thread like the trainers of the tests."""

    curves: dict[str, NDArray[np.float32]]
    evaluations: list[EvaluationResult]
    best_step: int | None
    verdict: str


def uninterrupted(body: dict[str, Any]) -> UninterruptedRun:
    """Train `body` in this process, without interruptions. Return the results."""
    torch.set_num_threads(1)
    trainer = _trainer(resolve(body))
    events = list(trainer.run())
    ticks = [event for event in events if isinstance(event, Tick)]
    values = np.concatenate([tick.values for tick in ticks])
    return UninterruptedRun(
        curves={name: values[:, column] for column, name in enumerate(ticks[0].names)},
        evaluations=[event.evaluation for event in events if isinstance(event, Evaluated)],
        best_step=trainer.best_step,
        verdict=trainer.health.verdict,
    )


def _trainer(spec: TrainSpec, **options: Any) -> Trainer:
    data = datasets.load(spec.dataset)
    net = for_dataset(data) if spec.evaluation.enabled else None
    return Trainer(spec, data, features=net, **options)


def with_checkpoints(settings: Settings, db: Database, body: dict[str, Any], steps: int) -> Job:
    """Return a queued job whose first attempt saved checkpoints at `steps` and was then drained."""
    job = submit(db, **body)
    with db.write() as s:
        claimed = leases.claim(s, "an-earlier-worker", "cpu", 0, 60)
    assert claimed is not None and claimed.id == job.id
    writer = FencedWriter(db, job.id, 1, 60)
    manager = CheckpointManager(writer, files_of(settings), keep_last=steps)
    _train(writer, manager, resolve(body).model_copy(update={"total_steps": steps}))
    with db.write() as s:
        return leases.release(s, job.id, 1, crash=False, reason={"code": "worker_draining", "message": "Drained."})


def _train(writer: FencedWriter, manager: CheckpointManager, spec: TrainSpec) -> None:
    torch.set_num_threads(1)
    trainer = _trainer(spec, tick_seconds=0.0)
    writer.write(lambda s: leases.record_resume(s, writer.job_id, 1, 0), step=0)
    for event in trainer.run():
        if isinstance(event, Tick):
            manager.save(trainer, {})
            manager.finish()
