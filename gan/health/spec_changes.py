"""What plans are made of: changes to a spec, each with its reason. () or nothing changed: it does not apply."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from gan.findings import SpecChange
from gan.health.quality import BestEvaluation
from gan.health.symptom import Symptom
from gan.spec import DEFAULT_PRESET, preset_spec
from gan.spec.fields import OptimizerSpec, PenaltyKind, TrainSpec

Plan = tuple[SpecChange, ...]

# Two learning rates (Heusel et al. 2017, arXiv:1706.08500) stand up to four times apart on purpose.
APART: Final = 4.0
# Learning rates above the first are seldom survived; the second trains nearly anything.
_HIGH: Final = {"adam": 2e-3, "rmsprop": 1e-3}
_SAFE: Final = {"adam": 2e-4, "rmsprop": 5e-5}
# gamma of R1 and R2 (Huang et al. 2024, arXiv:2501.05441); lambda (Gulrajani et al. 2017, arXiv:1704.00028).
_GAMMA, _LAMBDA = 1.0, 10.0
# Real images of a run that is too short to judge its spec by, and of one that is not.
_FEW_IMAGES, _ENOUGH_IMAGES = 50_000, 100_000
_WIDEST: Final = {"base_channels": 256, "hidden_units": 4096}
_LEARNING: Final = (
    "generator", "discriminator", "conditioning", "loss", "penalties", "optimizers", "alternation", "stabilizers",
)  # fmt: skip


@dataclass(frozen=True)
class TreatmentCase:
    """What plans are made from."""

    sign: Symptom
    spec: TrainSpec
    best: BestEvaluation | None

    @property
    def pace(self) -> float:
        """How much faster D's weights move than G's, by learning rates and updates."""
        rates, a = self.spec.optimizers, self.spec.alternation
        # A critic's game wants many updates of it.
        one_each = self.spec.loss.kind == "wasserstein" or a.unit == "odd_even"
        return rates.d.learning_rate / rates.g.learning_rate * (1.0 if one_each else a.d_steps / a.g_steps)

    @property
    def cross_entropy(self) -> bool:
        """Whether labels can be smoothed."""
        return self.spec.loss.kind in ("minimax", "non_saturating")

    @property
    def lipschitz(self) -> bool:
        """Whether anything bounds the slope of D."""
        spec = self.spec
        return bool(spec.penalties or spec.stabilizers.weight_clip or spec.discriminator.spectral_norm)


def lower_what_is_high(case: TreatmentCase) -> Plan:
    """The usual learning rates in place of ones that nearly no run survives."""
    high = {p: o for p, o in _optimizers(case).items() if o.learning_rate > _HIGH[o.kind]}
    blame = {p: f"{o.learning_rate:g} is far too high for {o.kind}." for p, o in high.items()}
    return usual_rates(case, "The usual rate, to go with the other player's.", **blame) if high else ()


def even_pace(case: TreatmentCase) -> Plan:
    """The usual learning rates, and one update each."""
    why = "G and D learn at very different rates: one leaves the other behind."
    return (*usual_rates(case, why), *_even_updates(case))


def _even_updates(case: TreatmentCase) -> Plan:
    a = case.spec.alternation
    if case.spec.loss.kind == "wasserstein" or a.unit == "odd_even" or a.d_steps == a.g_steps:
        return ()
    why = "As many updates of one as of the other."
    return SpecChange("/alternation/d_steps", 1, why), SpecChange("/alternation/g_steps", 1, why)


def scale_rates(case: TreatmentCase, factor: float, players: str) -> Plan:
    """The learning rates of `trained_networks` times `factor`."""
    why = "Smaller steps." if factor < 1.0 else "Larger steps."
    rates = {p: min(1.0, o.learning_rate * factor) for p, o in _optimizers(case).items()}
    return tuple(_rate(player, rates[player], why) for player in players)


def usual_rates(case: TreatmentCase, why: str, **own: str) -> Plan:
    """The preset's own learning rates; where it has another optimizer, those that train nearly anything.

    `own`: the reason of a player that has one of its own.
    """
    preset = preset_spec(case.spec.preset, case.spec.dataset).optimizers
    of_preset = {"g": preset.g, "d": preset.d}
    same = {p: of_preset[p].learning_rate for p, o in _optimizers(case).items() if of_preset[p].kind == o.kind}
    return tuple(_rate(p, same.get(p, _SAFE[o.kind]), own.get(p, why)) for p, o in _optimizers(case).items())


def smoothing(case: TreatmentCase) -> Plan:
    """One-sided label smoothing, where the loss has labels that are not smoothed yet."""
    why = "D is asked for 0.9, not for certainty, so that its logits stay where G has a gradient."
    sharp = case.cross_entropy and case.spec.stabilizers.real_label == 1.0
    return (SpecChange("/stabilizers/real_label", 0.9, why),) if sharp else ()


def noise(case: TreatmentCase) -> Plan:
    """Instance noise."""
    why = "Noise on all that D sees makes reals and fakes overlap, so that D cannot be sure."
    return (SpecChange("/stabilizers/instance_noise", 0.1, why),) if not case.spec.stabilizers.instance_noise else ()


def loss(case: TreatmentCase, kind: str, why: str) -> Plan:
    """Another game; smoothed labels go where it has none."""
    plan = [SpecChange("/loss/kind", kind, why)]
    if kind not in ("minimax", "non_saturating"):
        plan.append(SpecChange("/stabilizers/real_label", 1.0, "Labels are smoothed in a cross entropy only."))
        plan.append(SpecChange("/stabilizers/fake_label", 0.0, "Labels are smoothed in a cross entropy only."))
    return tuple(plan)


def penalties(case: TreatmentCase, kinds: Iterable[PenaltyKind]) -> Plan:
    """These penalties in place of any, and a D that looks at one image at a time, as they need."""
    weights = {"gradient_penalty": _LAMBDA, "r1": _GAMMA, "r2": _GAMMA}
    values = [_penalty(kind, weights[kind]) for kind in kinds]
    plan = [
        SpecChange(
            "/penalties", values, "A penalty on D's gradient keeps its slope, and so G's lesson, within bounds."
        )
    ]
    if case.spec.discriminator.architecture == "dcgan" and case.spec.discriminator.normalization == "batch":
        plan.append(SpecChange("/discriminator/normalization", "none", "A gradient penalty forbids BatchNorm in D."))
    why = "A gradient penalty is of one image alone."
    plan.append(SpecChange("/discriminator/minibatch_features", 0, why))
    plan.append(SpecChange("/stabilizers/weight_clip", 0.0, "The penalty takes the place of clipping."))
    return tuple(plan)


def _penalty(kind: PenaltyKind, weight: float) -> dict[str, Any]:
    return {"kind": kind, "weight": weight, "schedule": "constant", "final_factor": 1.0}


def relativistic(case: TreatmentCase) -> Plan:
    """Relativistic pairs with R1 and R2, which do not lose modes (Huang et al. 2024, arXiv:2501.05441)."""
    why = "A fake is judged beside a real: there is no hole into which all fakes could fall."
    return (*loss(case, "relativistic", why), *penalties(case, ("r1", "r2")))


def conditioning(kind: str, why: str) -> Plan:
    """How D takes the label."""
    return (SpecChange("/conditioning/kind", kind, why),)


def more_capacity(case: TreatmentCase) -> Plan:
    """G and D twice as wide."""
    width = "hidden_units" if case.spec.generator.architecture == "mlp" else "base_channels"
    return tuple(
        SpecChange(
            f"/{name}/{width}", min(_WIDEST[width], 2 * getattr(network, width)), "Wider: room for every class."
        )
        for name, network in (("generator", case.spec.generator), ("discriminator", case.spec.discriminator))
    )


def longer(case: TreatmentCase) -> Plan:
    """Enough steps to learn anything in, where there are too few."""
    spec = case.spec
    if spec.total_steps * spec.batch_size >= _FEW_IMAGES:
        return ()
    steps = math.ceil(_ENOUGH_IMAGES / spec.batch_size)
    return (SpecChange("/total_steps", steps, "So few images teach no G: train longer before judging the rest."),)


def default_recipe(case: TreatmentCase) -> Plan:
    """The default preset, and all of learning as it has it; labels stay out where they are not used."""
    recipe = preset_spec(DEFAULT_PRESET, case.spec.dataset).model_dump(mode="json")
    if not case.spec.conditional:
        recipe["conditioning"] = case.spec.conditioning.model_dump(mode="json")
    why = f"What the preset {DEFAULT_PRESET!r} has, which trains most images."
    sections = tuple(SpecChange(f"/{section}", recipe[section], why) for section in _LEARNING)
    return (SpecChange("/preset", DEFAULT_PRESET, "Start from a recipe that is known to learn."), *sections)


def _optimizers(case: TreatmentCase) -> dict[str, OptimizerSpec]:
    return {"g": case.spec.optimizers.g, "d": case.spec.optimizers.d}


def _rate(player: str, value: float, why: str) -> SpecChange:
    return SpecChange(f"/optimizers/{player}/learning_rate", value, why)
