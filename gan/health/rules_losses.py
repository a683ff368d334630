"""Rules on the losses, asked at every look: each says what it sees, or None."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final

from gan.findings import FindingEvidence, Severity
from gan.health.curves import LossBlock, LossCurves
from gan.health.loss_scales import SCALES
from gan.health.quality import Quality
from gan.health.symptom import Symptom
from gan.spec.fields import TrainSpec


@dataclass(frozen=True)
class LossObservation:
    """What a rule on the losses may see."""

    spec: TrainSpec
    curves: LossCurves
    quality: Quality
    roll_backs: int
    """How many were made."""


def non_finite(look: LossObservation) -> Symptom | None:
    """NaN or infinity in a loss or a gradient norm."""
    limits, bad = look.spec.safeguards.thresholds, look.curves.bad
    if not bad:
        return None
    enough = len(bad) >= limits.non_finite_updates
    severity: Severity = "critical" if enough and look.roll_backs + 1 >= limits.roll_backs else "warning"
    made = f" {look.roll_backs} roll backs have not helped." if look.roll_backs else ""
    message = (
        f"{len(bad)} of the last {limits.non_finite_steps} steps had a loss or a gradient that is not finite. Their "
        f"updates are not made; {limits.non_finite_updates} such steps bring the last good weights back.{made}"
    )
    evidence = FindingEvidence("non_finite_updates", float(len(bad)), float(limits.non_finite_updates))
    return Symptom("non_finite", severity, bad[0], message, (evidence,))


def vanishing_gradients(look: LossObservation) -> Symptom | None:
    """D dominates: its loss is next to nothing, or it is always right and G's gradient has gone."""
    blocks = look.curves.since(look.curves.window)
    return (_gradient_gone(look, blocks) or _d_loss_gone(look, blocks)) if blocks else None


def _gradient_gone(look: LossObservation, blocks: Sequence[LossBlock]) -> Symptom | None:
    limits = look.spec.safeguards.thresholds
    accuracy, norm = fmean(b.d_accuracy for b in blocks), median([b.grad_norm_g for b in blocks])
    least = limits.vanishing_gradient * look.curves.most_g
    if accuracy <= limits.vanishing_d_accuracy or norm >= least:
        return None
    began = _began(
        look.curves, lambda b: b.d_accuracy > limits.vanishing_d_accuracy and b.grad_norm_g < least, blocks
    )
    message = (
        f"D is right about {accuracy:.1%} of the images, and G's gradient is {norm:.3g}, less than "
        f"{limits.vanishing_gradient:.0%} of the {look.curves.most_g:.3g} that it was: G learns nothing any more."
    )
    evidence = (
        FindingEvidence("d_accuracy", accuracy, limits.vanishing_d_accuracy),
        FindingEvidence("grad_norm_g", norm, least),
    )
    return Symptom("vanishing_gradients", "critical", began, message, evidence)


def _d_loss_gone(look: LossObservation, blocks: Sequence[LossBlock]) -> Symptom | None:
    name = SCALES[look.spec.loss.kind].won
    if name is None:
        return None
    limit = getattr(look.spec.safeguards.thresholds, name)
    loss = median([b.loss_d for b in blocks])
    if loss >= limit:
        return None
    began = _began(look.curves, lambda b: b.loss_d < limit, blocks)
    message = (
        f"D's loss was {loss:.3g} over {look.curves.window} steps: it tells every fake from a real with ease, "
        "so its gradient tells G little."
    )
    return Symptom("vanishing_gradients", "warning", began, message, (FindingEvidence("loss_d", loss, limit),))


def generator_dominates(look: LossObservation) -> Symptom | None:
    """D takes the fakes for real and cannot tell, and still the images get no better."""
    limits, scale = look.spec.safeguards.thresholds, SCALES[look.spec.loss.kind]
    steps = look.curves.last(limits.dominates_steps)
    blocks = look.curves.since(steps)
    if not blocks or not _stagnates(look):
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
    began = _began(look.curves, lambda b: b.d_accuracy < limits.dominates_d_accuracy, blocks)
    return Symptom("generator_dominates", "warning", began, message, evidence)


def _stagnates(look: LossObservation) -> bool:
    """The last evaluation is no better than those before it; where none are made, the losses must do."""
    return look.quality.stagnant > 0 or not look.spec.evaluation.enabled


def divergence(look: LossObservation) -> Symptom | None:
    """Gradients that stay huge, or a loss of D that has left its range."""
    return _steep(look) or _d_loss_left(look)


def _steep(look: LossObservation) -> Symptom | None:
    limits = look.spec.safeguards.thresholds
    steps = look.curves.last(limits.divergence_steps)
    since = {player: first for player, first in look.curves.steep.items() if first is not None}
    long = {player: first for player, first in since.items() if look.curves.step - first + 1 >= steps}
    if not long:
        return None
    player = min(long, key=lambda name: long[name])
    count = look.curves.step - long[player] + 1
    message = (
        f"The gradient norm of {player.upper()} has been above {limits.divergence_gradient:g} for {count} steps: "
        "training has left the region in which it converges."
    )
    evidence = FindingEvidence(f"steps_with_large_grad_norm_{player}", float(count), float(steps))
    return Symptom("divergence", "critical", long[player], message, (evidence,))


def _d_loss_left(look: LossObservation) -> Symptom | None:
    """The median of D's loss over the last steps is far above what it was before, or above that of a coin."""
    steps = look.curves.last(look.spec.safeguards.thresholds.divergence_steps)
    recent = look.curves.since(steps)
    limits = [limit for limit in (_usual_limit(look, recent, steps), _coin_limit(look)) if limit is not None]
    if not recent or not limits:
        return None
    now, limit = median([abs(b.loss_d) for b in recent]), min(limits)
    if now <= limit:
        return None
    message = f"D's loss is {now:.3g}; {limit:.3g} is far too high: D is sure, and wrong. Training is coming apart."
    return Symptom("divergence", "warning", recent[0].first, message, (FindingEvidence("loss_d", now, limit),))


def _usual_limit(look: LossObservation, recent: Sequence[LossBlock], steps: int) -> float | None:
    """From D's median loss in up to two windows before `recent`; None where they are no longer than `recent` is."""
    before = [b for b in look.curves.blocks if recent and look.curves.warm < b.first < recent[0].first]
    if not before or before[-1].last - before[0].first + 1 < steps:
        return None
    usual = median([abs(b.loss_d) for b in before])
    # A D that was nearly always right may grow tenfold and still be right: it must be worse than a coin.
    return max(look.spec.safeguards.thresholds.divergence_loss * usual, SCALES[look.spec.loss.kind].chance or 0.0)


def _coin_limit(look: LossObservation) -> float | None:
    """From the loss of a D that cannot tell: it finds a D that has been surely wrong from the start."""
    chance = SCALES[look.spec.loss.kind].chance
    return None if chance is None else look.spec.safeguards.thresholds.divergence_loss * chance


def _began(curves: LossCurves, holds: Callable[[LossBlock], bool], window: Sequence[LossBlock]) -> int:
    """First step of the unbroken run of blocks up to now in which `holds`; of the window where there is none."""
    first = None
    for block in reversed(curves.blocks):
        if not holds(block) or block.first <= curves.warm:
            break
        first = block.first
    return window[0].first if first is None else first


RULES: Final[dict[str, Callable[[LossObservation], Symptom | None]]] = {
    "non_finite": non_finite,
    "vanishing_gradients": vanishing_gradients,
    "generator_dominates": generator_dominates,
    "divergence": divergence,
}
