"""What a training run tells whoever drives it, in the order in which it happens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gan.findings import HealthFinding
from gan.quality.evaluate import EvaluationResult


@dataclass(frozen=True, eq=False)
class Tick:
    """The metrics of the steps since the last tick: one row a step, `first_step` to `step`, none left out."""

    step: int
    images_seen: int
    """Real images shown to D so far."""
    images_per_second: float
    """Of real images shown to D, wall clock, over the last few ticks."""
    first_step: int
    names: tuple[str, ...]
    values: npt.NDArray[np.float32]
    """(step - first_step + 1, len(names)); NaN and infinity are left as they came."""


@dataclass(frozen=True, eq=False)
class PreviewReady:
    """The fixed latents, drawn at `step`."""

    step: int
    images: npt.NDArray[np.uint8]
    """(N, H, W, C) at the data set's own size, row after row."""
    rows: int
    row_labels: tuple[str, ...]
    """One a row; empty for an unconditional generator."""


@dataclass(frozen=True)
class Evaluated:
    """How good the generator is at `step`; `best` where no earlier step was better."""

    step: int
    evaluation: EvaluationResult
    best: bool


@dataclass(frozen=True)
class HealthChanged:
    """The verdict and all findings that hold at `step`; `raised` are those that are new."""

    step: int
    verdict: str
    findings: tuple[HealthFinding, ...]
    raised: tuple[HealthFinding, ...]


@dataclass(frozen=True)
class CheckpointDue:
    """`Trainer.state()` and `Trainer.weights()` are to be saved now. `final`: the last step; `best`: a new best."""

    step: int
    final: bool
    best: bool = False


Event = Tick | PreviewReady | Evaluated | HealthChanged | CheckpointDue
