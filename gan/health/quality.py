"""The history of a run's evaluations, reduced to the numbers that the health rules need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, NamedTuple

from gan.findings import FindingEvidence
from gan.health.reach import above_reals, missing_evidence
from gan.quality.evaluate import EvaluationResult
from gan.spec.catalog import DatasetInfo
from gan.spec.safeguards import ThresholdsSpec

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
    recognisable: bool = True
    """Whether the images of the last evaluation were close enough to real ones to check classes."""
    stagnant: int = 0
    """The number of evaluations since the last one that improved: its FCD was lower by `thresholds.improvement`."""
    improved_to: float | None = None
    """The FCD of that evaluation."""
    settled: int = 0
    """The same as `stagnant` for `thresholds.equilibrium_quality`."""
    settled_at: float | None = None
    """The FCD of the last evaluation that improved by that share."""
    had_covered: bool = False
    """Whether coverage has ever reached the required minimum."""
    balanced: int = 0
    """The number of consecutive evaluations at which D was no better than a coin."""
    balanced_since: int = 0
    """The step of the first of these evaluations."""
    evaluated_at: int | None = None
    """The step of the last evaluation; that of step 0 does not count."""
    figures: dict[str, float] | None = None
    """The metrics of that evaluation."""
    missing: tuple[FindingEvidence, ...] = ()
    """What that evaluation lacks for images that a person recognises."""
    learned: bool = False
    """Whether any evaluation lacked nothing."""

    def add(self, evaluation: EvaluationResult, limits: ThresholdsSpec, info: DatasetInfo) -> None:
        """Add one evaluation of a run on the images of `info`."""
        metrics = evaluation.metrics
        # Coverage is absent if it cannot be computed. Then the best evaluation is that of the lowest FCD.
        fcd, coverage = metrics["fcd"], metrics.get("coverage", 0.0)
        needed = above_reals(limits.recognisable_precision, evaluation, "precision")
        self.recognisable = metrics.get("precision", needed) >= needed
        min_coverage = above_reals(limits.collapse_coverage, evaluation, "coverage")
        self.had_covered = self.had_covered or ("coverage" in metrics and coverage >= min_coverage)
        self.stagnant, self.improved_to = _since_improvement(self.stagnant, self.improved_to, fcd, limits.improvement)
        self.settled, self.settled_at = _since_improvement(
            self.settled, self.settled_at, fcd, limits.equilibrium_quality
        )
        if evaluation.step == 0:
            self.untrained = fcd
            return
        self.evaluated_at, self.figures = evaluation.step, dict(metrics)
        self.missing = missing_evidence(limits, evaluation, info, self.untrained)
        self.learned = self.learned or not self.missing
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
        self.since_best = self.balanced = self.stagnant = self.settled = 0

    def _is_best(self, fcd: float, coverage: float) -> bool:
        required = _MIN_COVERAGE_SHARE * self.highest_coverage
        if self.best is None or self.best.coverage < required:
            return True
        return coverage >= required and fcd < self.best.fcd

    def state(self) -> dict[str, Any]:
        """Return the state as plain values for a checkpoint."""
        missing = [asdict(evidence) for evidence in self.missing]
        return asdict(self) | {"best": None if self.best is None else list(self.best), "missing": missing}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore the output of `state`."""
        for field in fields(self):
            # A checkpoint of an earlier version lacks some of the fields, and has "lowest" in place of two of them.
            setattr(self, field.name, state.get(field.name, getattr(self, field.name)))
        if "lowest" in state:
            self.improved_to = self.settled_at = state["lowest"]
        self.missing = tuple(FindingEvidence(**evidence) for evidence in state.get("missing", ()))
        self.best = None if state["best"] is None else BestEvaluation(*state["best"])


def _since_improvement(count: int, reached: float | None, fcd: float, margin: float) -> tuple[int, float]:
    """Return the evaluations since the last improvement, and the FCD that it reached, with one more evaluation.

    `fcd` improves if it is lower than `reached` by the share `margin`. Small improvements add up, because `reached`
    stays as it is meanwhile.
    """
    if reached is None:
        return 0, fcd
    return (0, fcd) if fcd <= (1.0 - margin) * reached else (count + 1, reached)
