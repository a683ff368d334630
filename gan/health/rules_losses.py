"""Health rules on the losses. Each returns a symptom, or None where its condition does not hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final

from gan.findings import FindingEvidence, Severity
from gan.health.curves import LossBlock, LossCurves
from gan.health.loss_scales import LOSS_SCALES
from gan.health.quality import EvaluationHistory
from gan.health.symptom import Symptom
from gan.spec.fields import TrainSpec
from gan.spec.safeguards import ThresholdsSpec


@dataclass(frozen=True)
class LossObservation:
    """The input of the rules on the losses."""

    spec: TrainSpec
    curves: LossCurves
    history: EvaluationHistory
    roll_backs: int
    """The number of roll backs so far."""

    @property
    def thresholds(self) -> ThresholdsSpec:
        """The thresholds of the spec."""
        return self.spec.safeguards.thresholds


def non_finite(observation: LossObservation) -> Symptom | None:
    """Return a symptom if a loss or a gradient norm was NaN or infinite in the last steps."""
    limits, steps = observation.thresholds, observation.curves.non_finite_steps
    if not steps:
        return None
    enough = len(steps) >= limits.non_finite_updates
    severity: Severity = "critical" if enough and observation.roll_backs + 1 >= limits.roll_backs else "warning"
    roll_backs = f" {observation.roll_backs} roll backs have not helped." if observation.roll_backs else ""
    message = (
        f"{len(steps)} of the last {limits.non_finite_steps} steps had a loss or a gradient that is not finite. "
        f"Their updates are not made; {limits.non_finite_updates} such steps bring the last good weights "
        f"back.{roll_backs}"
    )
    evidence = FindingEvidence("non_finite_updates", float(len(steps)), float(limits.non_finite_updates))
    return Symptom("non_finite", severity, steps[0], message, (evidence,))


def vanishing_gradients(observation: LossObservation) -> Symptom | None:
    """Return a symptom if D dominates.

    It is critical where D is almost always right and G's gradient has vanished, and a warning where D's loss is close
    to zero.
    """
    blocks = observation.curves.last_blocks(observation.curves.window)
    return (_g_gradient_vanished(observation, blocks) or _d_loss_vanished(observation, blocks)) if blocks else None


def _g_gradient_vanished(observation: LossObservation, blocks: Sequence[LossBlock]) -> Symptom | None:
    limits, curves = observation.thresholds, observation.curves
    accuracy, norm = fmean(b.d_accuracy for b in blocks), median([b.grad_norm_g for b in blocks])
    limit = limits.vanishing_gradient * curves.max_grad_norm_g
    if accuracy <= limits.vanishing_d_accuracy or norm >= limit:
        return None
    began = _first_step(
        curves, lambda b: b.d_accuracy > limits.vanishing_d_accuracy and b.grad_norm_g < limit, blocks
    )
    message = (
        f"D is right about {accuracy:.1%} of the images, and G's gradient is {norm:.3g}, less than "
        f"{limits.vanishing_gradient:.0%} of the {curves.max_grad_norm_g:.3g} that it was: G learns nothing any more."
    )
    evidence = (
        FindingEvidence("d_accuracy", accuracy, limits.vanishing_d_accuracy),
        FindingEvidence("grad_norm_g", norm, limit),
    )
    return Symptom("vanishing_gradients", "critical", began, message, evidence)


def _d_loss_vanished(observation: LossObservation, blocks: Sequence[LossBlock]) -> Symptom | None:
    threshold = LOSS_SCALES[observation.spec.loss.kind].d_wins_below
    if threshold is None:
        return None
    limit = getattr(observation.thresholds, threshold)
    loss = median([b.loss_d for b in blocks])
    if loss >= limit:
        return None
    began = _first_step(observation.curves, lambda b: b.loss_d < limit, blocks)
    message = (
        f"D's loss was {loss:.3g} over {observation.curves.window} steps: it tells every fake from a real with ease, "
        "so its gradient tells G little."
    )
    return Symptom("vanishing_gradients", "warning", began, message, (FindingEvidence("loss_d", loss, limit),))


def generator_dominates(observation: LossObservation) -> Symptom | None:
    """Return a symptom if D takes the fakes for real and its accuracy is at chance, but quality does not improve."""
    limits, scale = observation.thresholds, LOSS_SCALES[observation.spec.loss.kind]
    steps = observation.curves.at_most_window(limits.dominates_steps)
    blocks = observation.curves.last_blocks(steps)
    if not blocks or not _stagnates(observation):
        return None
    accuracy = fmean(b.d_accuracy for b in blocks)
    opinion = median([scale.opinion(b.real_logit, b.fake_logit) for b in blocks])
    if accuracy >= limits.dominates_d_accuracy or opinion <= limits.dominates_opinion:
        return None
    message = (
        f"D is right about {accuracy:.0%} of the images over {steps} steps and takes the fakes for real, so that G's "
        "loss is near its floor, and yet quality does not improve: D is too weak to teach G anything."
    )
    evidence = (
        FindingEvidence("d_accuracy", accuracy, limits.dominates_d_accuracy),
        FindingEvidence("d_opinion_of_fakes", opinion, limits.dominates_opinion),
    )
    began = _first_step(observation.curves, lambda b: b.d_accuracy < limits.dominates_d_accuracy, blocks)
    return Symptom("generator_dominates", "warning", began, message, evidence)


def _stagnates(observation: LossObservation) -> bool:
    """Return whether the last evaluation brought no improvement; without evaluations the losses alone decide."""
    return observation.history.stagnant > 0 or not observation.spec.evaluation.enabled


def divergence(observation: LossObservation) -> Symptom | None:
    """Return a symptom if gradient norms stay too large, or if D's loss has left its usual range."""
    return _large_gradient(observation) or _large_d_loss(observation)


def _large_gradient(observation: LossObservation) -> Symptom | None:
    limits, curves = observation.thresholds, observation.curves
    steps = curves.at_most_window(limits.divergence_steps)
    since = {network: first for network, first in curves.large_gradient_since.items() if first is not None}
    long_enough = {network: first for network, first in since.items() if curves.step - first + 1 >= steps}
    if not long_enough:
        return None
    network = min(long_enough, key=lambda name: long_enough[name])
    count = curves.step - long_enough[network] + 1
    message = (
        f"The gradient norm of {network.upper()} has been above {limits.divergence_gradient:g} for {count} steps: "
        "training has left the region in which it converges."
    )
    evidence = FindingEvidence(f"steps_with_large_grad_norm_{network}", float(count), float(steps))
    return Symptom("divergence", "critical", long_enough[network], message, (evidence,))


def _large_d_loss(observation: LossObservation) -> Symptom | None:
    """Compare the recent median of D's loss with its median before, and with its value at chance."""
    steps = observation.curves.at_most_window(observation.thresholds.divergence_steps)
    recent = observation.curves.last_blocks(steps)
    limits = [_limit_by_history(observation, recent, steps), _limit_by_chance(observation)]
    known = [limit for limit in limits if limit is not None]
    if not recent or not known:
        return None
    now, limit = median([abs(b.loss_d) for b in recent]), min(known)
    if now <= limit:
        return None
    message = f"D's loss is {now:.3g}; {limit:.3g} is far too high: D is sure, and wrong. Training is coming apart."
    return Symptom("divergence", "warning", recent[0].first, message, (FindingEvidence("loss_d", now, limit),))


def _limit_by_history(observation: LossObservation, recent: Sequence[LossBlock], steps: int) -> float | None:
    """Return the limit that follows from D's median loss in up to two windows before `recent`.

    It is None where these blocks cover fewer than `steps` steps.
    """
    curves = observation.curves
    before = [b for b in curves.blocks if recent and curves.warm_up_end < b.first < recent[0].first]
    if not before or before[-1].last - before[0].first + 1 < steps:
        return None
    usual = median([abs(b.loss_d) for b in before])
    # The loss of a D that was almost always right may grow tenfold while D is still right. It must also be worse than
    # at chance.
    chance = LOSS_SCALES[observation.spec.loss.kind].chance or 0.0
    return max(observation.thresholds.divergence_loss * usual, chance)


def _limit_by_chance(observation: LossObservation) -> float | None:
    """Return the limit that follows from D's loss at chance: it also catches a D that was wrong from the start."""
    chance = LOSS_SCALES[observation.spec.loss.kind].chance
    return None if chance is None else observation.thresholds.divergence_loss * chance


def _first_step(curves: LossCurves, holds: Callable[[LossBlock], bool], window: Sequence[LossBlock]) -> int:
    """Return the first step of the latest unbroken run of blocks for which `holds` is true.

    Return the first step of `window` if it is not true for the last block.
    """
    first = None
    for block in reversed(curves.blocks):
        if not holds(block) or block.first <= curves.warm_up_end:
            break
        first = block.first
    return window[0].first if first is None else first


RULES: Final[dict[str, Callable[[LossObservation], Symptom | None]]] = {
    "non_finite": non_finite,
    "vanishing_gradients": vanishing_gradients,
    "generator_dominates": generator_dominates,
    "divergence": divergence,
}
"""All rules on the losses, by the name of their hysteresis in a checkpoint."""
