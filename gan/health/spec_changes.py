"""Spec changes, the building blocks of treatments. A function returns () where its change does not apply."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from gan.findings import SpecChange
from gan.health.quality import BestEvaluation
from gan.health.symptom import Symptom
from gan.spec import DEFAULT_PRESET, preset_spec
from gan.spec.families import FAMILIES
from gan.spec.fields import CROSS_ENTROPY, OptimizerSpec, PenaltyKind, TrainSpec
from gan.spec.rules import normalises_by_batch

Treatment = tuple[SpecChange, ...]
"""Changes to a spec that belong together."""

# Two learning rates (Heusel et al. 2017, arXiv:1706.08500) may differ by a factor of four on purpose.
RATE_RATIO: Final = 4.0
# Above the first learning rate training seldom succeeds; with the second almost every model trains.
_HIGH_RATE: Final = {"adam": 2e-3, "rmsprop": 1e-3}
_SAFE_RATE: Final = {"adam": 2e-4, "rmsprop": 5e-5}
# gamma of R1 and R2 (Huang et al. 2024, arXiv:2501.05441); lambda (Gulrajani et al. 2017, arXiv:1704.00028).
_GAMMA, _LAMBDA = 1.0, 10.0
# A run on fewer real images than the first number is too short to judge its spec; one on the second number is not.
_FEW_IMAGES, _ENOUGH_IMAGES = 50_000, 100_000
# D memorises fewer images than this before G has learned from them (docs/presets.md, few images).
_FEW_TO_MEMORISE: Final = 2_000
_AUGMENTATION: Final = ("color", "translation", "cutout")
_MAX_WIDTH: Final = {"base_channels": 256, "hidden_units": 4096}
_LEARNING_SECTIONS: Final = (
    "generator", "discriminator", "conditioning", "loss", "penalties", "optimizers", "alternation", "stabilizers",
)  # fmt: skip


@dataclass(frozen=True)
class TreatmentCase:
    """The input of every treatment: the symptom, the spec, the best evaluation if there is one, and the images."""

    symptom: Symptom
    spec: TrainSpec
    best: BestEvaluation | None
    num_images: int
    """The number of training images."""

    @property
    def d_to_g_pace(self) -> float:
        """The ratio of D's pace to G's, where the pace is the learning rate times the updates per step."""
        rates, alternation = self.spec.optimizers, self.spec.alternation
        # A Wasserstein critic needs several updates for each of G, so its number of updates is not counted.
        one_each = self.spec.loss.kind == "wasserstein" or alternation.unit == "odd_even"
        ratio = rates.d.learning_rate / rates.g.learning_rate
        return ratio * (1.0 if one_each else alternation.d_steps / alternation.g_steps)

    @property
    def lipschitz(self) -> bool:
        """Whether a penalty, weight clipping or spectral norm bounds the slope of D."""
        spec = self.spec
        return bool(spec.penalties or spec.stabilizers.weight_clip or spec.discriminator.spectral_norm)


def lower_high_rates(case: TreatmentCase) -> Treatment:
    """Set both learning rates to the usual ones if one of them is so high that training almost never succeeds."""
    high = {n: o for n, o in _optimizers(case).items() if o.learning_rate > _HIGH_RATE[o.kind]}
    reasons = {n: f"{o.learning_rate:g} is far too high for {o.kind}." for n, o in high.items()}
    return usual_rates(case, "The usual rate, to go with the other player's.", **reasons) if high else ()


def even_pace(case: TreatmentCase) -> Treatment:
    """Set the usual learning rates and as many updates of G as of D."""
    why = "G and D learn at very different rates, so that one of them falls behind."
    return (*usual_rates(case, why), *_even_updates(case))


def _even_updates(case: TreatmentCase) -> Treatment:
    alternation = case.spec.alternation
    if (
        case.spec.loss.kind == "wasserstein"
        or alternation.unit == "odd_even"
        or alternation.d_steps == alternation.g_steps
    ):
        return ()
    why = "G and D get the same number of updates."
    return SpecChange("/alternation/d_steps", 1, why), SpecChange("/alternation/g_steps", 1, why)


def scale_rates(case: TreatmentCase, factor: float, networks: str) -> Treatment:
    """Multiply learning rates by `factor`; `networks` is "g", "d" or "gd". A rate never exceeds 1."""
    why = "Smaller steps." if factor < 1.0 else "Larger steps."
    rates = {n: min(1.0, o.learning_rate * factor) for n, o in _optimizers(case).items()}
    return tuple(_rate(network, rates[network], why) for network in networks)


def usual_rates(case: TreatmentCase, why: str, **reasons: str) -> Treatment:
    """Set both learning rates to those of the preset, or to a safe one where the preset has another optimizer.

    `reasons` overrides `why` for "g" or "d".
    """
    preset = preset_spec(case.spec.preset, case.spec.dataset).optimizers
    optimizers, of_preset = _optimizers(case), {"g": preset.g, "d": preset.d}
    same_kind = {n: of_preset[n].learning_rate for n, o in optimizers.items() if of_preset[n].kind == o.kind}
    return tuple(_rate(n, same_kind.get(n, _SAFE_RATE[o.kind]), reasons.get(n, why)) for n, o in optimizers.items())


def smoothing(case: TreatmentCase) -> Treatment:
    """Smooth the real label to 0.9, where the loss is a cross entropy without smoothing of the real label."""
    why = "D's target for real images is 0.9 in place of 1, so that its logits stay where G has a gradient."
    sharp = case.spec.loss.kind in CROSS_ENTROPY and case.spec.stabilizers.real_label == 1.0
    return (SpecChange("/stabilizers/real_label", 0.9, why),) if sharp else ()


def augmentation(case: TreatmentCase) -> Treatment:
    """Augment all images that D sees, where they are not augmented (Zhao et al. 2020, arXiv:2006.10738)."""
    why = "D sees each image shifted and altered, so that it cannot memorise the image."
    absent = not case.spec.stabilizers.augmentation
    return (SpecChange("/stabilizers/augmentation", list(_AUGMENTATION), why),) if absent else ()


def augmentation_for_few_images(case: TreatmentCase) -> Treatment:
    """Augment the images of a small data set, which D memorises whatever else is changed."""
    return augmentation(case) if case.num_images < _FEW_TO_MEMORISE else ()


def noise(case: TreatmentCase) -> Treatment:
    """Add instance noise where there is none."""
    why = "Noise on all images that D sees makes reals and fakes overlap, so that D cannot be certain."
    return (SpecChange("/stabilizers/instance_noise", 0.1, why),) if not case.spec.stabilizers.instance_noise else ()


def loss(case: TreatmentCase, kind: str, why: str) -> Treatment:
    """Set the loss; also remove label smoothing where the new loss has no labels."""
    changes = [SpecChange("/loss/kind", kind, why)]
    if kind not in ("minimax", "non_saturating"):
        no_labels = "Label smoothing applies to a cross entropy only."
        changes.append(SpecChange("/stabilizers/real_label", 1.0, no_labels))
        changes.append(SpecChange("/stabilizers/fake_label", 0.0, no_labels))
    return tuple(changes)


def penalties(case: TreatmentCase, kinds: Iterable[PenaltyKind]) -> Treatment:
    """Replace all penalties by `kinds`, and remove what mixes the images of a batch in D, as penalties require."""
    weights = {"gradient_penalty": _LAMBDA, "r1": _GAMMA, "r2": _GAMMA}
    values = [_penalty(kind, weights[kind]) for kind in kinds]
    why = "A penalty on D's gradient bounds its slope, and with it the gradient that G gets."
    changes = [SpecChange("/penalties", values, why)]
    if normalises_by_batch(case.spec):
        no_batch_norm = "A gradient penalty does not allow BatchNorm in D."
        changes.append(SpecChange("/discriminator/normalization", "none", no_batch_norm))
    single = "A gradient penalty is computed for each image alone."
    changes.append(SpecChange("/discriminator/minibatch_features", 0, single))
    changes.append(SpecChange("/stabilizers/weight_clip", 0.0, "The penalty replaces weight clipping."))
    return tuple(changes)


def _penalty(kind: PenaltyKind, weight: float) -> dict[str, Any]:
    return {"kind": kind, "weight": weight, "schedule": "constant", "final_factor": 1.0}


def relativistic(case: TreatmentCase) -> Treatment:
    """Set relativistic pairing with R1 and R2, which does not lose modes (Huang et al. 2024, arXiv:2501.05441)."""
    why = "D compares each fake with a real, so that G gains nothing by drawing the same image for every z."
    return (*loss(case, "relativistic", why), *penalties(case, ("r1", "r2")))


def wgan_gp(case: TreatmentCase) -> Treatment:
    """Set the Wasserstein loss with a gradient penalty (Gulrajani et al. 2017, arXiv:1704.00028, algorithm 1).

    Return () for a body that does not allow it: one whose G has a loss of its own (feature matching), and one that
    has this loss already.
    """
    spec = case.spec
    if spec.stabilizers.feature_matching or spec.loss.kind == "wasserstein":
        return ()
    why = "WGAN-GP: a critic's loss falls with the distance of fakes to reals, also where the two do not overlap."
    five = "A critic is updated five times for each update of G, so that a step takes longer."
    momentum = "A critic with a gradient penalty is trained without momentum."
    betas = tuple(
        SpecChange(f"/optimizers/{n}/{name}", value, momentum)
        for n, optimizer in _optimizers(case).items()
        for name, value in (("beta1", 0.0), ("beta2", 0.9))
        if optimizer.kind == "adam"
    )
    alternation = (
        SpecChange("/alternation/unit", "step", five),
        SpecChange("/alternation/d_steps", 5, five),
        SpecChange("/alternation/g_steps", 1, five),
    )
    return (*loss(case, "wasserstein", why), *penalties(case, ("gradient_penalty",)), *alternation, *betas)


def conditioning(kind: str, why: str) -> Treatment:
    """Set how D gets the label."""
    return (SpecChange("/conditioning/kind", kind, why),)


def more_capacity(case: TreatmentCase) -> Treatment:
    """Double the width of G and D, up to the largest width of a spec."""
    width = FAMILIES[case.spec.generator.architecture].width
    why = "Wider networks have the capacity for every class."
    networks = (("generator", case.spec.generator), ("discriminator", case.spec.discriminator))
    return tuple(
        SpecChange(f"/{name}/{width}", min(_MAX_WIDTH[width], 2 * getattr(network, width)), why)
        for name, network in networks
    )


def longer(case: TreatmentCase) -> Treatment:
    """Increase the number of steps where the run shows D too few images to learn anything."""
    spec = case.spec
    if spec.total_steps * spec.batch_size >= _FEW_IMAGES:
        return ()
    steps = math.ceil(_ENOUGH_IMAGES / spec.batch_size)
    why = "So few images are not enough to train any G: train for longer before you change anything else."
    return (SpecChange("/total_steps", steps, why),)


def default_recipe(case: TreatmentCase) -> Treatment:
    """Set the default preset and all its sections on learning; an unconditional run stays unconditional."""
    recipe = preset_spec(DEFAULT_PRESET, case.spec.dataset).model_dump(mode="json")
    if not case.spec.conditional:
        recipe["conditioning"] = case.spec.conditioning.model_dump(mode="json")
    why = f"The value of the preset {DEFAULT_PRESET!r}, which trains most images."
    sections = tuple(SpecChange(f"/{section}", recipe[section], why) for section in _LEARNING_SECTIONS)
    return (SpecChange("/preset", DEFAULT_PRESET, "Start from a recipe that is known to learn."), *sections)


def _optimizers(case: TreatmentCase) -> dict[str, OptimizerSpec]:
    """Return the optimizers by network: "g" and "d"."""
    return {"g": case.spec.optimizers.g, "d": case.spec.optimizers.d}


def _rate(network: str, value: float, why: str) -> SpecChange:
    return SpecChange(f"/optimizers/{network}/learning_rate", value, why)
