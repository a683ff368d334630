"""The events that `Trainer.run` yields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gan.findings import HealthFinding, HealthSummary, Verdict
from gan.quality.evaluate import EvaluationResult


@dataclass(frozen=True, eq=False)
class Tick:
    """The metrics of the steps `first_step` to `step`, one row per step; ticks leave no gap."""

    step: int
    images_seen: int
    """The number of real images shown to D so far."""
    images_per_second: float
    """Real images shown to D per second of wall-clock time, over the last few ticks."""
    first_step: int
    names: tuple[str, ...]
    values: npt.NDArray[np.float32]
    """(step - first_step + 1, len(names)); it may contain NaN and infinity."""


@dataclass(frozen=True, eq=False)
class PreviewReady:
    """The images of the fixed latents at `step`."""

    step: int
    images: npt.NDArray[np.uint8]
    """(N, H, W, C) at the size of the data set, row after row."""
    rows: int
    row_labels: tuple[str, ...]
    """One label per row; empty for an unconditional generator."""


@dataclass(frozen=True)
class Evaluated:
    """The evaluation of the generator at `step`; `best` is true if no earlier one was better."""

    step: int
    evaluation: EvaluationResult
    best: bool


@dataclass(frozen=True)
class HealthChanged:
    """The verdict and all findings that hold at `step`; `raised` has those that are new or worse.

    It comes when any of these, or a figure in a message, differs from before.
    """

    step: int
    summary: HealthSummary
    findings: tuple[HealthFinding, ...]
    raised: tuple[HealthFinding, ...]

    @property
    def verdict(self) -> Verdict:
        """The verdict alone."""
        return self.summary.verdict


@dataclass(frozen=True)
class CheckpointDue:
    """The request to save `Trainer.state()` and `Trainer.weights()` now.

    `final`: this is the last step. `best`: the evaluation of this step is a new best.
    """

    step: int
    final: bool
    best: bool = False


Event = Tick | PreviewReady | Evaluated | HealthChanged | CheckpointDue
