"""The health monitor of a run: it evaluates the rules as losses, probes and evaluations arrive."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any, Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from gan.findings import Code, HealthFinding, HealthSummary, SpecChange, Verdict
from gan.health import headline, rules_evaluations, rules_losses, rules_probes
from gan.health.curves import LossCurves
from gan.health.growth import Growth
from gan.health.hysteresis import Hysteresis, is_worse
from gan.health.quality import BestEvaluation, EvaluationHistory
from gan.health.remedies import remedy_for
from gan.health.rules_evaluations import EvaluationObservation
from gan.health.rules_losses import LossObservation
from gan.health.rules_probes import OverfittingGap, ProbeObservation
from gan.health.symptom import Symptom
from gan.quality.evaluate import EvaluationResult
from gan.quality.probes import Probe
from gan.spec.catalog import DatasetInfo
from gan.spec.fields import TrainSpec

Observation = TypeVar("Observation")
# These rules need two checks in a row: G learns some classes late, and similar classes trade places.
_CONFIRM: Final = {"class_collapse/probe": 2, "class_collapse/evaluation": 2, "conditioning_ignored/evaluation": 2}
# Findings of these rules end at the first check without a symptom: once G has learned something, it stays so.
_END_AT_ONCE: Final = {"never_learned"}
# Older weights and half the learning rate may cure these findings. The others apply to the older weights, too.
_ROLL_BACK_CODES: Final[frozenset[Code]] = frozenset(
    ("vanishing_gradients", "mode_collapse", "class_collapse", "past_best", "divergence")
)


@dataclass(frozen=True)
class HealthAction:
    """What the policy of the spec demands now. The trainer carries it out.

    stop: end the run here; the job succeeds with its best checkpoint. roll_back: restore the last good weights, halve
    both learning rates and call `HealthMonitor.add_roll_back`. fail: end the run here as diverged.
    """

    kind: Literal["none", "stop", "roll_back", "fail"]
    step: int = 0
    """The first step of the evidence."""
    why: str = ""
    """The message of the finding that demands it."""


class HealthMonitor:
    """The findings and the verdict of one run of `spec`.

    Call it at fixed multiples of steps, so that a resumed run gives the same findings as an uninterrupted one.
    """

    def __init__(self, spec: TrainSpec, info: DatasetInfo) -> None:
        self._spec, self._info = spec, info
        self._limits = spec.safeguards.thresholds
        self._curves, self._history, self._growth = LossCurves(spec, info), EvaluationHistory(), Growth()
        self._gaps: list[OverfittingGap] = []
        self._roll_backs = 0
        self._warmed_up = False
        # A standing finding is made anew at each check, and to find a remedy takes milliseconds.
        self._remedies: dict[tuple[Code, str | None, BestEvaluation | None], tuple[SpecChange, ...]] = {}
        names = [*rules_losses.RULES, *rules_probes.RULES, *rules_evaluations.RULES]
        self._hysteresis = {name: Hysteresis() for name in names}

    @property
    def findings(self) -> tuple[HealthFinding, ...]:
        """The findings that hold now: the most severe one of each code, the worst first, then the oldest."""
        found: dict[Code, HealthFinding] = {}
        for rule in self._hysteresis.values():
            new = rule.finding
            if new and (new.code not in found or is_worse(new.severity, found[new.code].severity)):
                found[new.code] = new
        rank = {"critical": 0, "warning": 1, "info": 2}
        return tuple(sorted(found.values(), key=lambda f: (rank[f.severity], f.began_at_step, f.code)))

    @property
    def verdict(self) -> Verdict:
        """The worst severity among the findings; without any, "healthy" on evidence only, otherwise "unknown"."""
        return self.summary.verdict

    @property
    def summary(self) -> HealthSummary:
        """The verdict in one sentence, and why it is unknown if it is."""
        return headline.summary(self._spec, self.findings, self._history, self._curves.warm_up_end, self._warmed_up)

    @property
    def best(self) -> BestEvaluation | None:
        """The best evaluation so far; it is the last evaluation if the steps are the same."""
        return self._history.best

    @property
    def action(self) -> HealthAction:
        """What must be done now. Updates that are not finite are rolled back under every policy."""
        last = self._roll_backs + 1 >= self._limits.roll_backs
        non_finite_steps = self._curves.non_finite_steps
        if len(non_finite_steps) >= self._limits.non_finite_updates:
            cause = self._hysteresis["non_finite"].finding
            return HealthAction("fail" if last else "roll_back", non_finite_steps[0], cause.message if cause else "")
        policy = self._spec.safeguards.policy
        for finding in self.findings:
            critical = finding.severity == "critical"
            if policy == "stop_and_keep_best" and self.best and (critical or finding.code == "equilibrium"):
                return HealthAction("stop", finding.began_at_step, finding.message)
            if critical and policy == "roll_back" and finding.code in _ROLL_BACK_CODES and not last:
                return HealthAction("roll_back", finding.began_at_step, finding.message)
        return HealthAction("none")

    def add_losses(
        self, first_step: int, names: Sequence[str], values: npt.NDArray[np.float32]
    ) -> list[HealthFinding]:
        """Check the metrics of the steps since the last call, from `first_step` on.

        `values` is (steps, len(names)); it may hold NaN and infinity. Return the findings that are new or worse.
        """
        self._curves.add(first_step, names, values)
        self._warmed_up = self._warmed_up or self._curves.step > self._curves.warm_up_end
        observation = LossObservation(self._spec, self._curves, self._history, self._roll_backs)
        return self._check(self._curves.step, rules_losses.RULES, lambda: observation)

    def add_probe(self, probe: Probe) -> list[HealthFinding]:
        """Check a probe. Return the findings that are new or worse."""
        self._growth.add(probe.step, rules_probes.growing_metrics(probe))
        if probe.step <= self._curves.warm_up_end:
            return []
        self._warmed_up = True
        if probe.overfitting_gap is not None:
            gaps = [*self._gaps, (probe.step, probe.overfitting_gap)]
            self._gaps = gaps[-self._limits.overfitting_probes :]
        recognisable = self._history.recognisable
        return self._check(
            probe.step,
            rules_probes.RULES,
            lambda: ProbeObservation(
                self._spec, self._info, probe, self._gaps, self._growth, recognisable, self._has("mode_collapse")
            ),
        )

    def add_evaluation(self, evaluation: EvaluationResult) -> list[HealthFinding]:
        """Check an evaluation; that of step 0 measures the untrained G. Return the findings that are new or worse."""
        history = self._history
        history.add(evaluation, self._limits, self._info)
        history.add_balance(evaluation.step, self._in_balance())
        self._growth.add(evaluation.step, rules_evaluations.growing_metrics(evaluation))
        if evaluation.step <= self._curves.warm_up_end:
            return []
        self._warmed_up = True
        return self._check(
            evaluation.step,
            rules_evaluations.RULES,
            lambda: EvaluationObservation(
                self._spec,
                self._info,
                evaluation,
                history,
                self._growth,
                self._has("mode_collapse"),
                frozenset(f.code for f in self.findings if f.severity == "critical"),
            ),
        )

    def add_roll_back(self, step: int) -> None:
        """Record that the trainer has restored the last good weights after `step`."""
        self._roll_backs += 1
        self._gaps = []
        self._curves.add_roll_back(step)
        self._history.add_roll_back()
        for name, rule in self._hysteresis.items():
            if rule.finding and rule.finding.code in _ROLL_BACK_CODES:
                self._hysteresis[name] = Hysteresis()

    def state(self) -> dict[str, Any]:
        """Return the whole state as values that JSON can hold. Its size is bounded."""
        # These keys are part of the checkpoint format, so they stay as the first versions wrote them.
        return {
            "curves": self._curves.state(),
            "quality": self._history.state(),
            "growth": self._growth.state(),
            "gaps": [list(gap) for gap in self._gaps],
            "roll_backs": self._roll_backs,
            "judged": self._warmed_up,
            "watches": {name: rule.state() for name, rule in self._hysteresis.items()},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore the output of `state` exactly."""
        self._curves.load(state["curves"])
        self._history.load(state["quality"])
        self._growth.load(state["growth"])
        self._gaps = [(step, gap) for step, gap in state["gaps"]]
        self._roll_backs, self._warmed_up = state["roll_backs"], state["judged"]
        self._hysteresis |= {name: Hysteresis.from_state(saved) for name, saved in state["watches"].items()}

    def _check(
        self,
        step: int,
        rules: Mapping[str, Callable[[Observation], Symptom | None]],
        observe: Callable[[], Observation],
    ) -> list[HealthFinding]:
        """Evaluate `rules` in order. Return the findings that are new, or worse than before.

        `observe` is called for each rule anew, so that a rule sees the findings of the rules before it.
        """
        before = {finding.code: finding.severity for finding in self.findings}
        for name, rule in rules.items():
            quiet_checks = 1 if name in _END_AT_ONCE else self._limits.quiet_looks
            symptom = rule(observe())
            self._hysteresis[name].update(symptom, _CONFIRM.get(name, 1), quiet_checks, partial(self._finding, step))
        return [f for f in self.findings if f.code not in before or is_worse(f.severity, before[f.code])]

    def _finding(self, step: int, symptom: Symptom) -> HealthFinding:
        key = (symptom.code, symptom.cause, self.best)
        if key not in self._remedies:
            self._remedies[key] = remedy_for(symptom, self._spec, self._info, self.best)
        return HealthFinding(
            code=symptom.code,
            severity=symptom.severity,
            began_at_step=symptom.began_at_step,
            found_at_step=step,
            message=symptom.message,
            evidence=symptom.evidence,
            remedy=self._remedies[key],
        )

    def _has(self, code: Code) -> bool:
        return any(rule.finding and rule.finding.code == code for rule in self._hysteresis.values())

    def _in_balance(self) -> bool:
        """Return whether D was no better than a coin over the last window."""
        blocks = self._curves.last_blocks(self._curves.window)
        if not blocks:
            return False
        return abs(fmean(block.d_accuracy for block in blocks) - 0.5) <= self._limits.equilibrium_accuracy
