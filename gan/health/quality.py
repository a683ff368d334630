"""The history of a run's evaluations, reduced to the numbers that the health rules need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, NamedTuple

from gan.quality.evaluate import EvaluationResult

# A generator that memorises a few images has a low FCD but covers almost none of the reals.
_MIN_COVERAGE_SHARE: Final = 0.5


class BestEvaluation(NamedTuple):
    """The best evaluation: the lowest FCD among those with at least half of the highest coverage so far."""

    step: int
    fcd: float
    coverage: float


@dataclass
class EvaluationHistory:
    """A summary of the evaluations so far. Step 0 measures the untrained G, which is never the best.

    The names of the fields are keys of the checkpoint.
    """

    untrained: float | None = None
    """The FCD at step 0."""
    best: BestEvaluation | None = None
    highest_coverage: float = 0.0
    since_best: int = 0
    """The number of evaluations since the best one."""
    lowest: float | None = None
    """The lowest FCD so far, that of the untrained G included."""
    precision: float | None = None
    """The precision of the last evaluation."""
    stagnant: int = 0
    """The number of consecutive evaluations that did not improve on the lowest FCD before them by a margin."""
    had_covered: bool = False
    """Whether coverage has ever reached the required minimum."""
    balanced: int = 0
    """The number of consecutive evaluations at which D could not tell and quality was near the best."""
    balanced_since: int = 0
    """The step of the first of these evaluations."""

    def add(self, evaluation: EvaluationResult, margin: float, min_coverage: float) -> None:
        """Add one evaluation.

        `margin` is the share by which the FCD must fall to count as an improvement. `min_coverage` is the coverage
        that a run should reach.
        """
        fcd, coverage = evaluation.metrics["fcd"], evaluation.metrics["coverage"]
        self.precision = evaluation.metrics["precision"]
        self.had_covered = self.had_covered or coverage >= min_coverage
        if self.lowest is not None:
            self.stagnant = 0 if fcd <= (1.0 - margin) * self.lowest else self.stagnant + 1
        self.lowest = fcd if self.lowest is None else min(self.lowest, fcd)
        if evaluation.step == 0:
            self.untrained = fcd
            return
        self.highest_coverage = max(self.highest_coverage, coverage)
        self.since_best += 1
        if self._is_best(fcd, coverage):
            self.best, self.since_best = BestEvaluation(evaluation.step, fcd, coverage), 0

    def add_balance(self, step: int, balanced: bool) -> None:
        """Count the evaluation at `step` as balanced, or start counting anew."""
        if balanced and not self.balanced:
            self.balanced_since = step
        self.balanced = self.balanced + 1 if balanced else 0

    def add_roll_back(self) -> None:
        """Reset the counters: the older weights get the full number of evaluations to reach a new best."""
        self.since_best = self.balanced = self.stagnant = 0

    def _is_best(self, fcd: float, coverage: float) -> bool:
        required = _MIN_COVERAGE_SHARE * self.highest_coverage
        if self.best is None or self.best.coverage < required:
            return True
        return coverage >= required and fcd < self.best.fcd

    def state(self) -> dict[str, Any]:
        """Return the state as plain values for a checkpoint."""
        return asdict(self) | {"best": None if self.best is None else list(self.best)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore the output of `state`."""
        for field in fields(self):
            setattr(self, field.name, state[field.name])
        self.best = None if state["best"] is None else BestEvaluation(*state["best"])
