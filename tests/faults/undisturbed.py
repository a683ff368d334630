"""Reference runs: the results of a job without faults, trained in this process once for each spec."""

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

# Fields that influence neither weights nor events.
_NOT_OF_THE_RUN: Final = {"name", "labels", "priority", "max_attempts", "max_runtime_seconds"}


@dataclass(frozen=True)
class UndisturbedRun:
    """The results of one run, on one thread like the trainers of the tests."""

    curves: dict[str, NDArray[np.float32]]
    """Metric -> its value at every step from 1."""
    previews: list[int]
    evaluations: dict[int, dict[str, float]]
    best_step: int | None
    weights: dict[int, dict[str, Tensor]]
    """Step -> weights, for the steps with a checkpoint by the spec."""
    info: DatasetInfo

    def digest(self, spec: TrainSpec, step: int) -> str | None:
        """Return the sha256 of the file with the weights of that step; None without a checkpoint at that step."""
        if step not in self.weights:
            return None
        return hashlib.sha256(checkpoint.save_weights(self.weights[step], spec, self.info, step)).hexdigest()


class References:
    """A cache of reference runs, one for each spec."""

    def __init__(self) -> None:
        self._made: dict[str, UndisturbedRun] = {}

    def of(self, spec: TrainSpec) -> UndisturbedRun:
        """Return the reference run of that spec."""
        key = json.dumps(spec.model_dump(mode="json", exclude=_NOT_OF_THE_RUN), sort_keys=True)
        if key not in self._made:
            self._made[key] = run(spec)
        return self._made[key]


def run(spec: TrainSpec) -> UndisturbedRun:
    """Train `spec` to its end, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _run(spec)
    finally:
        torch.set_num_threads(threads)


def _run(spec: TrainSpec) -> UndisturbedRun:
    data = datasets.load(spec.dataset)
    trainer = Trainer(spec, data, features=for_dataset(data) if spec.evaluation.enabled else None)
    events: list[Any] = []
    weights: dict[int, dict[str, Tensor]] = {}
    for event in trainer.run():
        events.append(event)
        if isinstance(event, CheckpointDue):
            weights[trainer.step] = trainer.weights()
    ticks = [event for event in events if isinstance(event, Tick)]
    values = np.concatenate([tick.values for tick in ticks])
    return UndisturbedRun(
        curves={name: values[:, column] for column, name in enumerate(ticks[0].names)},
        previews=[event.step for event in events if isinstance(event, PreviewReady)],
        evaluations={e.step: dict(e.evaluation.metrics) for e in events if isinstance(e, Evaluated)},
        best_step=trainer.best_step,
        weights=weights,
        info=trainer.info,
    )
