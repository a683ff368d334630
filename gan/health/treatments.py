"""The treatments of each finding, the most likely first: visible errors in the spec come before general advice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from gan.findings import Code, SpecChange
from gan.health import spec_changes
from gan.health.spec_changes import RATE_RATIO, Treatment, TreatmentCase
from gan.health.symptom import UNINFORMATIVE_LABELS

# A collapse has other causes, too, so only a very large difference between the learning rates counts as the cause.
_COLLAPSE_RATE_RATIO: Final = 16.0
_SMALL_Z_DIM, _USUAL_Z_DIM, _MAX_Z_DIM = 32, 64, 256
# Below this learning rate the weights hardly change.
_LOW_RATE: Final = 2e-5
_MAX_D_STEPS: Final = 5


def _vanishing_gradients(case: TreatmentCase) -> Iterator[Treatment]:
    yield spec_changes.lower_high_rates(case)
    even = spec_changes.even_pace(case) if case.d_to_g_pace > RATE_RATIO else ()
    if not even:
        yield spec_changes.augmentation_for_few_images(case)
    if case.spec.loss.kind == "minimax":
        why = "The minimax loss gives G no gradient where D is certain; the non-saturating loss does."
        yield (*spec_changes.loss(case, "non_saturating", why), *even, *spec_changes.smoothing(case))
    if even:
        yield (*even, *spec_changes.smoothing(case))
    if case.spec.stabilizers.weight_clip:
        yield spec_changes.penalties(case, ("gradient_penalty",))
    yield (*spec_changes.smoothing(case), *spec_changes.noise(case))
    yield spec_changes.wgan_gp(case)
    if not case.lipschitz:
        yield spec_changes.penalties(case, ("r1", "r2"))
    yield spec_changes.scale_rates(case, 0.5, "d")


def _generator_dominates(case: TreatmentCase) -> Iterator[Treatment]:
    yield spec_changes.lower_high_rates(case)
    if case.d_to_g_pace < 1.0 / RATE_RATIO:
        yield spec_changes.even_pace(case)
    alternation = case.spec.alternation
    if alternation.unit != "odd_even" and alternation.d_steps < _MAX_D_STEPS * alternation.g_steps:
        why = "More updates of D for each of G: D must learn faster than G."
        d_steps = min(100, 2 * max(alternation.d_steps, alternation.g_steps))
        yield (SpecChange("/alternation/d_steps", d_steps, why),)
    yield spec_changes.scale_rates(case, 2.0, "d")


def _mode_collapse(case: TreatmentCase) -> Iterator[Treatment]:
    yield spec_changes.lower_high_rates(case)
    if case.spec.generator.z_dim < _SMALL_Z_DIM:
        why = f"A z of length {case.spec.generator.z_dim} is too small to describe how all the images differ."
        yield (SpecChange("/generator/z_dim", _USUAL_Z_DIM, why),)
    if _rates_far_apart(case):
        yield spec_changes.even_pace(case)
    yield from _more_variety(case)


def _more_variety(case: TreatmentCase) -> Iterator[Treatment]:
    yield spec_changes.augmentation_for_few_images(case)
    if case.spec.stabilizers.weight_clip:
        yield spec_changes.penalties(case, ("gradient_penalty",))
    # Relativistic pairs with penalties do not lose modes either, so that another loss is no gain.
    if case.spec.loss.kind != "relativistic" or not case.lipschitz:
        yield spec_changes.wgan_gp(case)
    if {penalty.kind for penalty in case.spec.penalties} != {"r1", "r2"}:
        yield spec_changes.relativistic(case)
    if not case.spec.discriminator.minibatch_features:
        why = "D compares the images of a batch, so that it can reject fakes that are all alike."
        yield (SpecChange("/discriminator/minibatch_features", 32, why),)
    if case.spec.generator.z_dim < _MAX_Z_DIM:
        why = "A longer z can describe more differences between images."
        yield (SpecChange("/generator/z_dim", min(_MAX_Z_DIM, 2 * case.spec.generator.z_dim), why),)
    yield spec_changes.scale_rates(case, 0.5, "gd")


def _class_collapse(case: TreatmentCase) -> Iterator[Treatment]:
    yield spec_changes.lower_high_rates(case)
    yield spec_changes.augmentation_for_few_images(case)
    if case.spec.conditional:
        why = "D compares its features with each class, so that no class is lost among the others."
        yield spec_changes.conditioning("projection", why)
        yield spec_changes.more_capacity(case)
    yield from _more_variety(case)


def _conditioning_ignored(case: TreatmentCase) -> Iterator[Treatment]:
    if case.symptom.cause == UNINFORMATIVE_LABELS:
        why = "G cannot learn labels that say nothing about the images: correct the labels, or train without them."
        yield spec_changes.conditioning("none", why)
        return
    yield spec_changes.lower_high_rates(case)
    if case.spec.conditioning.kind != "projection":
        why = "The label is combined with D's features where D computes its logit, so that D cannot ignore it."
        yield spec_changes.conditioning("projection", why)
    why = "D must predict the class, and G must draw images whose class D can predict."
    yield spec_changes.conditioning("class_head", why)


def _equilibrium(case: TreatmentCase) -> Iterator[Treatment]:
    if case.best is not None:
        why = f"The best evaluation was at step {case.best.step}; further steps add nothing."
        yield (SpecChange("/total_steps", case.best.step, why),)


def _past_best(case: TreatmentCase) -> Iterator[Treatment]:
    stop = SpecChange("/safeguards/policy", "stop_and_keep_best", "End when the best is past, and keep it.")
    if augmented := spec_changes.augmentation_for_few_images(case):
        yield (*augmented, stop)
    if not case.lipschitz:
        yield (stop, *spec_changes.penalties(case, ("r1",)))
    yield (stop,)
    yield from _equilibrium(case)


def _never_learned(case: TreatmentCase) -> Iterator[Treatment]:
    yield spec_changes.lower_high_rates(case)
    if _rates_far_apart(case):
        yield spec_changes.even_pace(case)
    rates = case.spec.optimizers
    if max(rates.g.learning_rate, rates.d.learning_rate) < _LOW_RATE:
        yield spec_changes.usual_rates(case, "At the old rate the weights hardly change.")
    yield spec_changes.longer(case)
    yield spec_changes.augmentation_for_few_images(case)
    yield spec_changes.default_recipe(case)
    yield spec_changes.relativistic(case)
    yield spec_changes.scale_rates(case, 0.5, "gd")


def _divergence(case: TreatmentCase) -> Iterator[Treatment]:
    yield spec_changes.lower_high_rates(case)
    if case.spec.penalties:
        weaker = [
            penalty.model_dump(mode="json") | {"weight": penalty.weight / 10} for penalty in case.spec.penalties
        ]
        yield (SpecChange("/penalties", weaker, "A weaker penalty: the gradient of the penalty itself may grow."),)
    yield spec_changes.scale_rates(case, 0.25, "gd")


def _non_finite(case: TreatmentCase) -> Iterator[Treatment]:
    yield spec_changes.lower_high_rates(case)
    lower_rates = spec_changes.scale_rates(case, 0.5, "gd")
    if case.spec.resources.precision == "bf16":
        why = "32-bit numbers are more precise than bf16."
        yield (SpecChange("/resources/precision", "fp32", why), *lower_rates)
    if not case.lipschitz:
        yield (*spec_changes.penalties(case, ("r1",)), *lower_rates)
    yield lower_rates


def _discriminator_overfitting(case: TreatmentCase) -> Iterator[Treatment]:
    yield spec_changes.augmentation(case)
    yield spec_changes.noise(case)
    if not case.lipschitz:
        yield spec_changes.penalties(case, ("r1",))
    yield spec_changes.scale_rates(case, 0.5, "d")


def _rates_far_apart(case: TreatmentCase) -> bool:
    return not 1.0 / _COLLAPSE_RATE_RATIO < case.d_to_g_pace < _COLLAPSE_RATE_RATIO


TREATMENTS: Final[dict[Code, Callable[[TreatmentCase], Iterator[Treatment]]]] = {
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
"""The treatments by the code of the finding; each function yields them in the order in which they are tried."""
