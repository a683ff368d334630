"""Plans against each finding, the likeliest first: what a spec shows to be wrong comes before general advice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from gan.findings import Code, Remedy
from gan.health import moves
from gan.health.moves import APART, Case, Plan
from gan.health.signs import LABELS_SAY_NOTHING

# Where images have collapsed, which has other causes too, only a great difference of the two rates is blamed.
_FAR_APART: Final = 16.0
_FEW_LATENTS, _LATENTS, _MOST_LATENTS = 32, 64, 256
# Below this, nothing moves.
_LOW_RATE: Final = 2e-5
_MOST_D_STEPS: Final = 5


def _vanishing_gradients(case: Case) -> Iterator[Plan]:
    yield moves.lower_what_is_high(case)
    even = moves.even_pace(case) if case.pace > APART else ()
    if case.spec.loss.kind == "minimax":
        why = "The minimax loss gives G no gradient where D is sure; the non-saturating one does."
        yield (*moves.loss(case, "non_saturating", why), *even, *moves.smoothing(case))
    if even:
        yield (*even, *moves.smoothing(case))
    if case.spec.stabilizers.weight_clip:
        yield moves.penalties(case, ("gradient_penalty",))
    yield (*moves.smoothing(case), *moves.noise(case))
    if not case.lipschitz:
        yield moves.penalties(case, ("r1", "r2"))
    yield moves.scale_rates(case, 0.5, "d")


def _generator_dominates(case: Case) -> Iterator[Plan]:
    yield moves.lower_what_is_high(case)
    if case.pace < 1.0 / APART:
        yield moves.even_pace(case)
    a = case.spec.alternation
    if a.unit != "odd_even" and a.d_steps < _MOST_D_STEPS * a.g_steps:
        why = "More updates of D for each of G: it must know more than G does."
        yield (Remedy("/alternation/d_steps", min(100, 2 * max(a.d_steps, a.g_steps)), why),)
    yield moves.scale_rates(case, 2.0, "d")


def _mode_collapse(case: Case) -> Iterator[Plan]:
    yield moves.lower_what_is_high(case)
    if case.spec.generator.z_dim < _FEW_LATENTS:
        why = f"{case.spec.generator.z_dim} numbers cannot say how all the images differ."
        yield (Remedy("/generator/z_dim", _LATENTS, why),)
    if _far_apart(case):
        yield moves.even_pace(case)
    yield from _more_variety(case)


def _more_variety(case: Case) -> Iterator[Plan]:
    if case.spec.stabilizers.weight_clip:
        yield moves.penalties(case, ("gradient_penalty",))
    if {penalty.kind for penalty in case.spec.penalties} != {"r1", "r2"}:
        yield moves.relativistic(case)
    if not case.spec.discriminator.minibatch_features:
        why = "D sees a batch side by side, so that images which are all alike give themselves away."
        yield (Remedy("/discriminator/minibatch_features", 32, why),)
    if case.spec.generator.z_dim < _MOST_LATENTS:
        why = "More room for what makes one image differ from another."
        yield (Remedy("/generator/z_dim", min(_MOST_LATENTS, 2 * case.spec.generator.z_dim), why),)
    yield moves.scale_rates(case, 0.5, "gd")


def _class_collapse(case: Case) -> Iterator[Plan]:
    yield moves.lower_what_is_high(case)
    if case.spec.conditional:
        why = "D judges each class by its features, and no class gets lost among the others."
        yield moves.conditioning("projection", why)
        yield moves.more_capacity(case)
    yield from _more_variety(case)


def _conditioning_ignored(case: Case) -> Iterator[Plan]:
    if case.sign.cause == LABELS_SAY_NOTHING:
        yield moves.conditioning("none", "Labels that say nothing cannot be learned: mend them, or leave them out.")
        return
    yield moves.lower_what_is_high(case)
    if case.spec.conditioning.kind != "projection":
        why = "The label meets D's features where the logit is made: it cannot be overlooked."
        yield moves.conditioning("projection", why)
    yield moves.conditioning("class_head", "D must name the class, and G must draw what can be named.")


def _equilibrium(case: Case) -> Iterator[Plan]:
    if case.best is not None:
        why = f"The best was at step {case.best.step}; further steps add nothing."
        yield (Remedy("/total_steps", case.best.step, why),)


def _past_best(case: Case) -> Iterator[Plan]:
    stop = Remedy("/safeguards/policy", "stop_and_keep_best", "End when the best is past, and keep it.")
    if not case.lipschitz:
        yield (stop, *moves.penalties(case, ("r1",)))
    yield (stop,)
    yield from _equilibrium(case)


def _never_learned(case: Case) -> Iterator[Plan]:
    yield moves.lower_what_is_high(case)
    if _far_apart(case):
        yield moves.even_pace(case)
    rates = case.spec.optimizers
    if max(rates.g.learning_rate, rates.d.learning_rate) < _LOW_RATE:
        yield moves.usual_rates(case, "At this rate the weights hardly move.")
    yield moves.longer(case)
    yield moves.default_recipe(case)
    yield moves.relativistic(case)
    yield moves.scale_rates(case, 0.5, "gd")


def _divergence(case: Case) -> Iterator[Plan]:
    yield moves.lower_what_is_high(case)
    if case.spec.penalties:
        weaker = [
            penalty.model_dump(mode="json") | {"weight": penalty.weight / 10} for penalty in case.spec.penalties
        ]
        yield (Remedy("/penalties", weaker, "A weaker penalty: its own gradient is what grows."),)
    yield moves.scale_rates(case, 0.25, "gd")


def _non_finite(case: Case) -> Iterator[Plan]:
    yield moves.lower_what_is_high(case)
    calmer = moves.scale_rates(case, 0.5, "gd")
    if case.spec.resources.precision == "bf16":
        yield (Remedy("/resources/precision", "fp32", "Full precision loses less."), *calmer)
    if not case.lipschitz:
        yield (*moves.penalties(case, ("r1",)), *calmer)
    yield calmer


def _discriminator_overfitting(case: Case) -> Iterator[Plan]:
    why = "D sees each image shifted and altered, so that it cannot know it by heart."
    yield (Remedy("/stabilizers/augmentation", ["color", "translation", "cutout"], why),)
    if not case.lipschitz:
        yield moves.penalties(case, ("r1",))
    yield moves.scale_rates(case, 0.5, "d")


def _far_apart(case: Case) -> bool:
    return not 1.0 / _FAR_APART < case.pace < _FAR_APART


PLANS: Final[dict[Code, Callable[[Case], Iterator[Plan]]]] = {
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
