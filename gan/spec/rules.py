"""Rules on combinations of fields: contradictions, and fields that have no effect.

Each problem points at the field and states how to correct it. This module imports pydantic only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gan.spec.families import FAMILIES, OPTIONAL_FIELDS, families_with
from gan.spec.fields import CROSS_ENTROPY, MAX_EVALUATIONS, MAX_PREVIEWS, TrainSpec
from gan.spec.networks import DiscriminatorSpec, GeneratorSpec
from gan.spec.problems import SpecProblem

_OTHER_NORMALIZATION: Final = "set discriminator.normalization to 'layer' or 'none'"


def combinations(spec: TrainSpec) -> Iterable[SpecProblem]:
    """Yield a problem for each contradiction between fields, whether the user or the preset has set them."""
    yield from _architectures(spec)
    yield from _penalties(spec)
    yield from _wasserstein(spec)
    yield from _conditioning(spec)
    yield from _stabilizers(spec)
    yield from _quality(spec)
    yield from _too_often(spec)


def without_effect(spec: TrainSpec, untouched: TrainSpec) -> Iterable[SpecProblem]:
    """Yield a problem for each field that the user has changed and that has no effect in `spec`.

    `untouched` is the spec without the user's fields. A field with the value of `untouched` or with its default is no
    problem, so that a complete spec with all its defaults is valid.
    """
    for path, has_effect, remedy in _conditional_fields(spec):
        value = _at(spec, path)
        if not has_effect and value not in (_at(untouched, path), _default(spec, path)):
            yield _problem(path, "has-no-effect", f"{path} has no effect here: leave it out, or {remedy}.")
    for i, penalty in enumerate(spec.penalties):
        if penalty.schedule == "constant" and penalty.final_factor != 1.0:
            detail = "A constant weight has no final_factor: leave it out, or set schedule to 'linear' or 'cosine'."
            yield _problem(f"penalties.{i}.final_factor", "has-no-effect", detail)


def _architectures(spec: TrainSpec) -> Iterable[SpecProblem]:
    g, d = spec.generator.architecture, spec.discriminator.architecture
    if FAMILIES[g].fully_connected != FAMILIES[d].fully_connected:
        detail = f"G is {g} and D is {d}: they work at different image sizes. Set both to {g!r} or both to {d!r}."
        yield _problem("discriminator.architecture", "architectures-differ", detail)


def _penalties(spec: TrainSpec) -> Iterable[SpecProblem]:
    kinds = [penalty.kind for penalty in spec.penalties]
    if len(set(kinds)) < len(kinds):
        yield _problem("penalties", "penalty-twice", "Each kind of penalty may occur only once; add up the weights.")
    if not kinds:
        return
    if normalises_by_batch(spec):
        detail = (
            "A gradient penalty needs D's gradient for each image alone, but BatchNorm mixes the images of a batch: "
            f"{_OTHER_NORMALIZATION}."
        )
        yield _problem("discriminator.normalization", "penalty-with-batch-norm", detail)
    if spec.discriminator.minibatch_features:
        detail = (
            "A gradient penalty needs D's gradient for each image alone, but minibatch discrimination mixes the "
            "images of a batch: set discriminator.minibatch_features to 0, or penalties to []."
        )
        yield _problem("discriminator.minibatch_features", "penalty-with-minibatch", detail)
    if spec.stabilizers.weight_clip and "gradient_penalty" in kinds:
        detail = (
            "Weight clipping and a gradient penalty both bound the slope of D: set stabilizers.weight_clip to 0, or "
            "penalties to []."
        )
        yield _problem("stabilizers.weight_clip", "clip-with-gradient-penalty", detail)


def normalises_by_batch(spec: TrainSpec) -> bool:
    """Return whether D has BatchNorm."""
    d = spec.discriminator
    return "normalization" in FAMILIES[d.architecture].options and d.normalization == "batch"


def _wasserstein(spec: TrainSpec) -> Iterable[SpecProblem]:
    bounded = spec.stabilizers.weight_clip or spec.penalties or spec.discriminator.spectral_norm
    if spec.loss.kind == "wasserstein" and not bounded:
        detail = (
            "A Wasserstein critic must be Lipschitz continuous: add a gradient_penalty to penalties, or set "
            "stabilizers.weight_clip to 0.01 or discriminator.spectral_norm to true."
        )
        yield _problem("loss.kind", "critic-not-lipschitz", detail)


def _conditioning(spec: TrainSpec) -> Iterable[SpecProblem]:
    if not (spec.conditional and spec.conditioning.generator == "conditional_batch_norm"):
        return
    family = FAMILIES[spec.generator.architecture]
    chosen = "normalization" not in family.options or spec.generator.normalization == "batch"
    if not (family.batch_norm_in_g and chosen):
        able = [name for name, facts in FAMILIES.items() if facts.batch_norm_in_g]
        detail = (
            "This G has no BatchNorm that can be conditional: set conditioning.generator to 'concat', or "
            f"generator.architecture to {_either(able)} with generator.normalization 'batch'."
        )
        yield _problem("conditioning.generator", "no-batch-norm", detail)


def _stabilizers(spec: TrainSpec) -> Iterable[SpecProblem]:
    smoothed = spec.stabilizers.real_label != 1.0 or spec.stabilizers.fake_label != 0.0
    if smoothed and spec.loss.kind not in CROSS_ENTROPY:
        detail = (
            f"Label smoothing needs a cross entropy, and {spec.loss.kind} is none: set stabilizers.real_label to 1 "
            "and fake_label to 0, or loss.kind to 'non_saturating'."
        )
        where = "real_label" if spec.stabilizers.real_label != 1.0 else "fake_label"
        yield _problem(f"stabilizers.{where}", "smoothing-without-cross-entropy", detail)
    if len(set(spec.stabilizers.augmentation)) < len(spec.stabilizers.augmentation):
        yield _problem(
            "stabilizers.augmentation", "augmentation-twice", "Each kind of augmentation may occur only once."
        )


def _quality(spec: TrainSpec) -> Iterable[SpecProblem]:
    if spec.safeguards.policy == "stop_and_keep_best" and not spec.evaluation.enabled:
        detail = (
            "Without evaluations there is no best checkpoint: set evaluation.enabled to true, or safeguards.policy "
            "to 'warn'."
        )
        yield _problem("safeguards.policy", "best-without-evaluation", detail)
    if spec.evaluation.train_on_fakes and not spec.conditional:
        detail = (
            "The classifier needs labelled fakes: set conditioning.kind to 'concat', or evaluation.train_on_fakes to "
            "false."
        )
        yield _problem("evaluation.train_on_fakes", "not-conditional", detail)


def _too_often(spec: TrainSpec) -> Iterable[SpecProblem]:
    for section, most in (("previews", MAX_PREVIEWS), ("evaluation", MAX_EVALUATIONS)):
        count = spec.total_steps // getattr(spec, section).every_steps
        if count > most and (section == "previews" or spec.evaluation.enabled):
            noun = "previews" if section == "previews" else "evaluations"
            detail = (
                f"That would make {count:,} {noun}, which are all stored; the limit is {most:,}. Set "
                f"{section}.every_steps to {-(-spec.total_steps // most)} or more."
            )
            yield _problem(f"{section}.every_steps", f"too-many-{noun}", detail)


def _conditional_fields(spec: TrainSpec) -> Iterable[tuple[str, bool, str]]:
    """Yield the fields that have an effect only under a condition.

    Each is (path, whether it has an effect in `spec`, what to set so that it has one).
    """
    for network in ("generator", "discriminator"):
        yield from _network_fields(network, getattr(spec, network))
    kind = spec.conditioning.kind
    embeds = spec.conditional and (
        spec.conditioning.generator == "concat" or FAMILIES[spec.discriminator.architecture].fully_connected
    )
    yield "conditioning.embedding_dim", embeds, "set conditioning.kind to 'concat'"
    yield "conditioning.generator", spec.conditional, "set conditioning.kind to 'concat'"
    yield "conditioning.class_weight", kind == "class_head", "set conditioning.kind to 'class_head'"
    for player in ("g", "d"):
        optimizer = getattr(spec.optimizers, player)
        yield f"optimizers.{player}.beta1", optimizer.kind == "adam", "set the optimizer's kind to 'adam'"
        scheduled = optimizer.schedule != "constant"
        yield f"optimizers.{player}.final_factor", scheduled, "set the optimizer's schedule to 'linear' or 'cosine'"
    counted = spec.alternation.unit != "odd_even"
    for field in ("d_steps", "g_steps"):
        yield f"alternation.{field}", counted, "set alternation.unit to 'step' or 'epoch'"
    one_each = "set alternation.unit to 'step' with one update of each network, and a loss that needs no reals for G"
    alternation = spec.alternation
    shareable = (alternation.unit, alternation.d_steps, alternation.g_steps) == ("step", 1, 1)
    yield "alternation.fakes", shareable and not spec.g_sees_reals, one_each
    noisy = spec.stabilizers.instance_noise > 0
    yield "stabilizers.instance_noise_until", noisy, "set stabilizers.instance_noise above 0"
    yield "ema.half_life_images", spec.ema.enabled, "set ema.enabled to true"
    for field in ("every_steps", "images", "neighbours", "train_on_fakes"):
        yield f"evaluation.{field}", spec.evaluation.enabled, "set evaluation.enabled to true"


def _network_fields(network: str, part: GeneratorSpec | DiscriminatorSpec) -> Iterable[tuple[str, bool, str]]:
    for field in (field for field in OPTIONAL_FIELDS if hasattr(part, field)):
        remedy = f"set the architecture of generator and discriminator to {_either(families_with(field))}"
        yield f"{network}.{field}", field in FAMILIES[part.architecture].fields, remedy
    yield f"{network}.attention_pooling", part.self_attention, f"set {network}.self_attention to true"


def _either(names: Iterable[str]) -> str:
    return " or ".join(map(repr, names))


def _at(spec: TrainSpec, path: str) -> object:
    value: object = spec
    for part in path.split("."):
        value = getattr(value, part)
    return value


def _default(spec: TrainSpec, path: str) -> object:
    section, _, field = path.rpartition(".")
    return type(_at(spec, section)).model_fields[field].default  # type: ignore[attr-defined]


def _problem(path: str, code: str, detail: str) -> SpecProblem:
    return SpecProblem(pointer="/" + path.replace(".", "/"), code=code, detail=detail)
