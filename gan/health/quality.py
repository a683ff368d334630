"""What health remembers of the evaluations: the best, and how things have gone since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, NamedTuple

from gan.quality.evaluate import EvaluationResult

# Who memorises a few images has a low distance to the reals, and covers next to none of them.
_LEAST_COVERAGE: Final = 0.5


class BestEvaluation(NamedTuple):
    """The best evaluation: the lowest FCD among those that cover at least half of what any has covered."""

    step: int
    fcd: float
    coverage: float


@dataclass
class Quality:
    """The evaluations so far, in a few figures. The untrained G is measured, and is never the best."""

    untrained: float | None = None
    """FCD at step 0."""
    best: BestEvaluation | None = None
    highest_coverage: float = 0.0
    since_best: int = 0
    """Evaluations since the best."""
    lowest: float | None = None
    """The lowest FCD so far, the untrained G's too."""
    precision: float | None = None
    """The last one."""
    stagnant: int = 0
    """Evaluations in a row that have not beaten all before them by a margin."""
    had_covered: bool = False
    """Whether coverage has been above the least that is asked."""
    balanced: int = 0
    """Evaluations in a row in which D could not tell and quality was near the best."""
    balanced_since: int = 0
    """The step of the first of them."""

    def add(self, evaluation: EvaluationResult, margin: float, least_coverage: float) -> None:
        """`margin`: the share by which quality must get better to be improving."""
        fcd, coverage = evaluation.metrics["fcd"], evaluation.metrics["coverage"]
        self.precision = evaluation.metrics["precision"]
        self.had_covered = self.had_covered or coverage >= least_coverage
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

    def rolled_back(self) -> None:
        """Other weights go on from here: they have the time to be the best again."""
        self.since_best = self.balanced = self.stagnant = 0

    def balance(self, evaluation: EvaluationResult, balanced: bool) -> None:
        """Count the evaluations in a row that are `balanced`."""
        if balanced and not self.balanced:
            self.balanced_since = evaluation.step
        self.balanced = self.balanced + 1 if balanced else 0

    def _is_best(self, fcd: float, coverage: float) -> bool:
        asked = _LEAST_COVERAGE * self.highest_coverage
        if self.best is None or self.best.coverage < asked:
            return True
        return coverage >= asked and fcd < self.best.fcd

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"best": None if self.best is None else list(self.best)}

    def load(self, state: Mapping[str, Any]) -> None:
        """What `state` gave."""
        for field in fields(self):
            setattr(self, field.name, state[field.name])
        self.best = None if state["best"] is None else BestEvaluation(*state["best"])
