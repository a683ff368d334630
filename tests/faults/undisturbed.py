"""What a job's run gives when nothing disturbs it: played here, once a spec, to hold the record against."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan import checkpoint, datasets
from gan.events import CheckpointDue, Evaluated, PreviewReady, Tick
from gan.quality.features import for_dataset
from gan.spec import TrainSpec
from gan.spec.catalog import DatasetInfo
from gan.train import Trainer

# None of these moves a weight or an event.
_NOT_OF_THE_RUN: Final = {"name", "labels", "priority", "max_attempts", "max_runtime_seconds"}


@dataclass(frozen=True)
class UndisturbedRun:
    """One run, whole, on one thread as the trainers of the tests."""

    curves: dict[str, NDArray[np.float32]]
    """Of each metric, the value of every step from 1."""
    previews: list[int]
    evaluations: dict[int, dict[str, float]]
    best_step: int | None
    weights: dict[int, dict[str, Tensor]]
    """At the steps where the spec asks for a checkpoint."""
    info: DatasetInfo

    def digest(self, spec: TrainSpec, step: int) -> str | None:
        """sha256 of the file that holds the weights of that step; None where no checkpoint is due by the spec."""
        if step not in self.weights:
            return None
        return hashlib.sha256(checkpoint.save_weights(self.weights[step], spec, self.info, step)).hexdigest()


class References:
    """Runs each spec once."""

    def __init__(self) -> None:
        self._made: dict[str, UndisturbedRun] = {}

    def of(self, spec: TrainSpec) -> UndisturbedRun:
        """Return the reference run of that spec."""
        key = json.dumps(spec.model_dump(mode="json", exclude=_NOT_OF_THE_RUN), sort_keys=True)
        if key not in self._made:
            self._made[key] = run(spec)
        return self._made[key]


def run(spec: TrainSpec) -> UndisturbedRun:
    """Play it to the end."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _run(spec)
    finally:
        torch.set_num_threads(threads)


def _run(spec: TrainSpec) -> UndisturbedRun:
    data = datasets.load(spec.dataset)
    trainer = Trainer(spec, data, features=for_dataset(data) if spec.evaluation.enabled else None)
    told: list[Any] = []
    weights: dict[int, dict[str, Tensor]] = {}
    for event in trainer.run():
        told.append(event)
        if isinstance(event, CheckpointDue):
            weights[trainer.step] = trainer.weights()
    ticks = [event for event in told if isinstance(event, Tick)]
    values = np.concatenate([tick.values for tick in ticks])
    return UndisturbedRun(
        curves={name: values[:, column] for column, name in enumerate(ticks[0].names)},
        previews=[event.step for event in told if isinstance(event, PreviewReady)],
        evaluations={e.step: dict(e.evaluation.metrics) for e in told if isinstance(e, Evaluated)},
        best_step=trainer.best_step,
        weights=weights,
        info=trainer.info,
    )
