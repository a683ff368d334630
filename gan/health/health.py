"""The verdict on a run: rules that are asked as losses, probes and evaluations come in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any, Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from gan.findings import Code, HealthFinding, Verdict
from gan.health import rules_evaluations, rules_losses, rules_probes
from gan.health.curves import LossCurves
from gan.health.growth import Growth
from gan.health.hysteresis import Hysteresis, worse
from gan.health.quality import BestEvaluation, Quality
from gan.health.remedies import remedy_for
from gan.health.rules_evaluations import EvaluationObservation, figures_of_evaluation, least_coverage
from gan.health.rules_losses import LossObservation
from gan.health.rules_probes import Gap, ProbeObservation, figures_of_probe
from gan.health.symptom import Symptom
from gan.quality.evaluate import EvaluationResult
from gan.quality.probes import Probe
from gan.spec.catalog import DatasetInfo
from gan.spec.fields import TrainSpec

Seen = TypeVar("Seen")
# What is seen of classes is believed when it is seen again: some come late, and two that look alike change places.
_CONFIRM: Final = {"class_collapse/probe": 2, "class_collapse/evaluation": 2, "conditioning_ignored/evaluation": 2}
# What never changes back by itself needs no second look to be over.
_AT_ONCE: Final = {"never_learned"}
# What older weights and half the learning rate may cure. Of the others, the older weights are no better.
_ROLLED_BACK_FOR: Final[frozenset[Code]] = frozenset(
    ("vanishing_gradients", "mode_collapse", "class_collapse", "past_best", "divergence")
)


@dataclass(frozen=True)
class HealthAction:
    """What the spec asks to be done about a run; the trainer does it.

    stop: end here; the job succeeds with its best checkpoint. roll_back: put the last good weights back, halve both
    learning rates, and say so to `Health.rolled_back`. fail: end here; the run has diverged.
    """

    kind: Literal["none", "stop", "roll_back", "fail"]
    step: int = 0
    """Where the evidence for it began."""
    why: str = ""
    """A sentence."""


class HealthMonitor:
    """Watches a run of `spec`. It is fed at fixed multiples of steps, so that a run that is resumed sees the same."""

    def __init__(self, spec: TrainSpec, info: DatasetInfo) -> None:
        self._spec, self._info = spec, info
        self._limits = spec.safeguards.thresholds
        self._curves, self._quality, self._growth = LossCurves(spec, info), Quality(), Growth()
        self._gaps: list[Gap] = []
        self._roll_backs = 0
        self._judged = False
        names = [*rules_losses.RULES, *rules_probes.RULES, *rules_evaluations.RULES]
        self._watches = {name: Hysteresis() for name in names}

    @property
    def findings(self) -> tuple[HealthFinding, ...]:
        """Those that hold, one of each code: the most severe. The worst first, then the oldest."""
        found: dict[Code, HealthFinding] = {}
        for watch in self._watches.values():
            new = watch.finding
            if new and (new.code not in found or worse(new.severity, found[new.code].severity)):
                found[new.code] = new
        rank = {"critical": 0, "warning": 1, "info": 2}
        return tuple(sorted(found.values(), key=lambda f: (rank[f.severity], f.began_at_step, f.code)))

    @property
    def verdict(self) -> Verdict:
        """The worst of the findings. unknown: the warm-up is not over, and nothing was found."""
        severities = {finding.severity for finding in self.findings}
        if "critical" in severities:
            return "failing"
        if "warning" in severities:
            return "warning"
        return "healthy" if self._judged else "unknown"

    @property
    def best(self) -> BestEvaluation | None:
        """The best evaluation so far; the last one is the best where its step is this step."""
        return self._quality.best

    @property
    def action(self) -> HealthAction:
        """What is to be done now. Updates that are not finite are rolled back for under every policy."""
        last = self._roll_backs + 1 >= self._limits.roll_backs
        if len(self._curves.bad) >= self._limits.non_finite_updates:
            why = self._watches["non_finite"].finding
            return HealthAction("fail" if last else "roll_back", self._curves.bad[0], why.message if why else "")
        policy = self._spec.safeguards.policy
        for finding in self.findings:
            if finding.severity != "critical":
                break
            if policy == "stop_and_keep_best" and self.best:
                return HealthAction("stop", finding.began_at_step, finding.message)
            if policy == "roll_back" and finding.code in _ROLLED_BACK_FOR and not last:
                return HealthAction("roll_back", finding.began_at_step, finding.message)
        return HealthAction("none")

    def rolled_back(self, step: int) -> None:
        """The trainer has put the last good weights back, after `step`."""
        self._roll_backs += 1
        self._gaps = []
        self._curves.rolled_back(step)
        self._quality.rolled_back()
        for name, watch in self._watches.items():
            if watch.finding and watch.finding.code in _ROLLED_BACK_FOR:
                self._watches[name] = Hysteresis()

    def look(self, first_step: int, names: Sequence[str], values: npt.NDArray[np.float32]) -> list[HealthFinding]:
        """The metrics (n, len(names)) of the steps since the last look. Returns what is newly found."""
        self._curves.add(first_step, names, values)
        self._judged = self._judged or self._curves.step > self._curves.warm
        seen = LossObservation(self._spec, self._curves, self._quality, self._roll_backs)
        return self._ask(self._curves.step, rules_losses.RULES, lambda: seen)

    def probe(self, probe: Probe) -> list[HealthFinding]:
        """A probe. Returns what is newly found."""
        self._growth.note(probe.step, figures_of_probe(probe))
        if probe.step <= self._curves.warm:
            return []
        self._judged = True
        if probe.overfitting_gap is not None:
            gaps = [*self._gaps, (probe.step, probe.overfitting_gap)]
            self._gaps = gaps[-self._limits.overfitting_probes :]
        precision = self._quality.precision
        recognisable = precision is None or precision >= self._limits.recognisable_precision
        return self._ask(
            probe.step,
            rules_probes.RULES,
            lambda: ProbeObservation(
                self._spec, probe, self._gaps, self._growth, recognisable, self._has("mode_collapse")
            ),
        )

    def evaluated(self, evaluation: EvaluationResult) -> list[HealthFinding]:
        """An evaluation; that of step 0 is the untrained G's. Returns what is newly found."""
        quality = self._quality
        quality.add(evaluation, self._limits.improvement, least_coverage(self._spec, evaluation))
        quality.balance(evaluation, self._in_balance(evaluation))
        self._growth.note(evaluation.step, figures_of_evaluation(evaluation))
        if evaluation.step <= self._curves.warm:
            return []
        self._judged = True
        return self._ask(
            evaluation.step,
            rules_evaluations.RULES,
            lambda: EvaluationObservation(
                self._spec, self._info, evaluation, quality, self._growth, self._has("mode_collapse")
            ),
        )

    def state(self) -> dict[str, Any]:
        """All that it remembers, bounded, as JSON carries it; `load` takes it on bit for bit."""
        return {
            "curves": self._curves.state(),
            "quality": self._quality.state(),
            "growth": self._growth.state(),
            "gaps": [list(gap) for gap in self._gaps],
            "roll_backs": self._roll_backs,
            "judged": self._judged,
            "watches": {name: watch.state() for name, watch in self._watches.items()},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """What `state` gave."""
        self._curves.load(state["curves"])
        self._quality.load(state["quality"])
        self._growth.load(state["growth"])
        self._gaps = [(step, gap) for step, gap in state["gaps"]]
        self._roll_backs, self._judged = state["roll_backs"], state["judged"]
        self._watches |= {name: Hysteresis.from_state(kept) for name, kept in state["watches"].items()}

    def _ask(
        self, step: int, rules: Mapping[str, Callable[[Seen], Symptom | None]], seen: Callable[[], Seen]
    ) -> list[HealthFinding]:
        """Ask each rule in its turn, with what is known by then. Returns what is new, or worse than it was."""
        before = {finding.code: finding.severity for finding in self.findings}
        for name, rule in rules.items():
            quiet_looks = 1 if name in _AT_ONCE else self._limits.quiet_looks
            self._watches[name].ask(rule(seen()), _CONFIRM.get(name, 1), quiet_looks, partial(self._finding, step))
        return [f for f in self.findings if f.code not in before or worse(f.severity, before[f.code])]

    def _finding(self, step: int, sign: Symptom) -> HealthFinding:
        remedy = remedy_for(sign, self._spec, self._info, self.best)
        return HealthFinding(
            code=sign.code,
            severity=sign.severity,
            began_at_step=sign.began_at_step,
            found_at_step=step,
            message=sign.message,
            evidence=sign.evidence,
            remedy=remedy,
        )

    def _has(self, code: Code) -> bool:
        return any(watch.finding and watch.finding.code == code for watch in self._watches.values())

    def _in_balance(self, evaluation: EvaluationResult) -> bool:
        """Whether D could not tell lately, and quality is near the best."""
        blocks, best = self._curves.since(self._curves.window), self.best
        if not blocks or best is None:
            return False
        off = abs(fmean(block.d_accuracy for block in blocks) - 0.5)
        near = evaluation.metrics["fcd"] <= (1.0 + self._limits.equilibrium_quality) * best.fcd
        return off <= self._limits.equilibrium_accuracy and near
