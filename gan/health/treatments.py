"""Plans against each finding, the likeliest first: what a spec shows to be wrong comes before general advice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from gan.findings import Code, SpecChange
from gan.health import spec_changes
from gan.health.spec_changes import APART, Plan, TreatmentCase
from gan.health.symptom import LABELS_SAY_NOTHING

# Where images have collapsed, which has other causes too, only a great difference of the two rates is blamed.
_FAR_APART: Final = 16.0
_FEW_LATENTS, _LATENTS, _MOST_LATENTS = 32, 64, 256
# Below this, nothing moves.
_LOW_RATE: Final = 2e-5
_MOST_D_STEPS: Final = 5


def _vanishing_gradients(case: TreatmentCase) -> Iterator[Plan]:
    yield spec_changes.lower_what_is_high(case)
    even = spec_changes.even_pace(case) if case.pace > APART else ()
    if case.spec.loss.kind == "minimax":
        why = "The minimax loss gives G no gradient where D is sure; the non-saturating one does."
        yield (*spec_changes.loss(case, "non_saturating", why), *even, *spec_changes.smoothing(case))
    if even:
        yield (*even, *spec_changes.smoothing(case))
    if case.spec.stabilizers.weight_clip:
        yield spec_changes.penalties(case, ("gradient_penalty",))
    yield (*spec_changes.smoothing(case), *spec_changes.noise(case))
    if not case.lipschitz:
        yield spec_changes.penalties(case, ("r1", "r2"))
    yield spec_changes.scale_rates(case, 0.5, "d")


def _generator_dominates(case: TreatmentCase) -> Iterator[Plan]:
    yield spec_changes.lower_what_is_high(case)
    if case.pace < 1.0 / APART:
        yield spec_changes.even_pace(case)
    a = case.spec.alternation
    if a.unit != "odd_even" and a.d_steps < _MOST_D_STEPS * a.g_steps:
        why = "More updates of D for each of G: it must know more than G does."
        yield (SpecChange("/alternation/d_steps", min(100, 2 * max(a.d_steps, a.g_steps)), why),)
    yield spec_changes.scale_rates(case, 2.0, "d")


def _mode_collapse(case: TreatmentCase) -> Iterator[Plan]:
    yield spec_changes.lower_what_is_high(case)
    if case.spec.generator.z_dim < _FEW_LATENTS:
        why = f"{case.spec.generator.z_dim} numbers cannot say how all the images differ."
        yield (SpecChange("/generator/z_dim", _LATENTS, why),)
    if _far_apart(case):
        yield spec_changes.even_pace(case)
    yield from _more_variety(case)


def _more_variety(case: TreatmentCase) -> Iterator[Plan]:
    if case.spec.stabilizers.weight_clip:
        yield spec_changes.penalties(case, ("gradient_penalty",))
    if {penalty.kind for penalty in case.spec.penalties} != {"r1", "r2"}:
        yield spec_changes.relativistic(case)
    if not case.spec.discriminator.minibatch_features:
        why = "D sees a batch side by side, so that images which are all alike give themselves away."
        yield (SpecChange("/discriminator/minibatch_features", 32, why),)
    if case.spec.generator.z_dim < _MOST_LATENTS:
        why = "More room for what makes one image differ from another."
        yield (SpecChange("/generator/z_dim", min(_MOST_LATENTS, 2 * case.spec.generator.z_dim), why),)
    yield spec_changes.scale_rates(case, 0.5, "gd")


def _class_collapse(case: TreatmentCase) -> Iterator[Plan]:
    yield spec_changes.lower_what_is_high(case)
    if case.spec.conditional:
        why = "D judges each class by its features, and no class gets lost among the others."
        yield spec_changes.conditioning("projection", why)
        yield spec_changes.more_capacity(case)
    yield from _more_variety(case)


def _conditioning_ignored(case: TreatmentCase) -> Iterator[Plan]:
    if case.sign.cause == LABELS_SAY_NOTHING:
        yield spec_changes.conditioning(
            "none", "Labels that say nothing cannot be learned: mend them, or leave them out."
        )
        return
    yield spec_changes.lower_what_is_high(case)
    if case.spec.conditioning.kind != "projection":
        why = "The label meets D's features where the logit is made: it cannot be overlooked."
        yield spec_changes.conditioning("projection", why)
    yield spec_changes.conditioning("class_head", "D must name the class, and G must draw what can be named.")


def _equilibrium(case: TreatmentCase) -> Iterator[Plan]:
    if case.best is not None:
        why = f"The best was at step {case.best.step}; further steps add nothing."
        yield (SpecChange("/total_steps", case.best.step, why),)


def _past_best(case: TreatmentCase) -> Iterator[Plan]:
    stop = SpecChange("/safeguards/policy", "stop_and_keep_best", "End when the best is past, and keep it.")
    if not case.lipschitz:
        yield (stop, *spec_changes.penalties(case, ("r1",)))
    yield (stop,)
    yield from _equilibrium(case)


def _never_learned(case: TreatmentCase) -> Iterator[Plan]:
    yield spec_changes.lower_what_is_high(case)
    if _far_apart(case):
        yield spec_changes.even_pace(case)
    rates = case.spec.optimizers
    if max(rates.g.learning_rate, rates.d.learning_rate) < _LOW_RATE:
        yield spec_changes.usual_rates(case, "At this rate the weights hardly move.")
    yield spec_changes.longer(case)
    yield spec_changes.default_recipe(case)
    yield spec_changes.relativistic(case)
    yield spec_changes.scale_rates(case, 0.5, "gd")


def _divergence(case: TreatmentCase) -> Iterator[Plan]:
    yield spec_changes.lower_what_is_high(case)
    if case.spec.penalties:
        weaker = [
            penalty.model_dump(mode="json") | {"weight": penalty.weight / 10} for penalty in case.spec.penalties
        ]
        yield (SpecChange("/penalties", weaker, "A weaker penalty: its own gradient is what grows."),)
    yield spec_changes.scale_rates(case, 0.25, "gd")


def _non_finite(case: TreatmentCase) -> Iterator[Plan]:
    yield spec_changes.lower_what_is_high(case)
    calmer = spec_changes.scale_rates(case, 0.5, "gd")
    if case.spec.resources.precision == "bf16":
        yield (SpecChange("/resources/precision", "fp32", "Full precision loses less."), *calmer)
    if not case.lipschitz:
        yield (*spec_changes.penalties(case, ("r1",)), *calmer)
    yield calmer


def _discriminator_overfitting(case: TreatmentCase) -> Iterator[Plan]:
    why = "D sees each image shifted and altered, so that it cannot know it by heart."
    yield (SpecChange("/stabilizers/augmentation", ["color", "translation", "cutout"], why),)
    if not case.lipschitz:
        yield spec_changes.penalties(case, ("r1",))
    yield spec_changes.scale_rates(case, 0.5, "d")


def _far_apart(case: TreatmentCase) -> bool:
    return not 1.0 / _FAR_APART < case.pace < _FAR_APART


PLANS: Final[dict[Code, Callable[[TreatmentCase], Iterator[Plan]]]] = {
    "non_finite": _non_finite,
    "vanishing_gradients": _vanishing_gradients,
    "generator_dominates": _generator_dominates,
    "mode_collapse": _mode_collapse,
    "class_collapse": _class_collapse,
    "conditioning_ignored": _conditioning_ignored,
    "equilibrium": _equilibrium,
    "past_best": _past_best,
    "never_learned": _never_learned,
    "divergence": _divergence,
    "discriminator_overfitting": _discriminator_overfitting,
}
