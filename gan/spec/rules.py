"""Which fields of a spec go together: combinations that make no sense, and fields that nothing would read.

Each problem points at the field and names the fix. Pydantic only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gan.spec.families import FAMILIES, OPTIONAL_FIELDS, Architecture, families_with
from gan.spec.fields import CROSS_ENTROPY, MOST_EVALUATIONS, MOST_PREVIEWS, TrainSpec
from gan.spec.problems import SpecProblem

_NORMS_OF_ONE_IMAGE: Final = "set discriminator.normalization to 'layer' or 'none'"


def combinations(spec: TrainSpec) -> Iterable[SpecProblem]:
    """What contradicts itself in `spec`, whoever set it."""
    yield from _architectures(spec)
    yield from _penalties(spec)
    yield from _wasserstein(spec)
    yield from _conditioning(spec)
    yield from _stabilizers(spec)
    yield from _quality(spec)
    yield from _too_often(spec)


def without_effect(spec: TrainSpec, untouched: TrainSpec) -> Iterable[SpecProblem]:
    """What the user changed of `untouched` (the preset and the defaults) that nothing in `spec` reads.

    Only changes count, and not those to a field's own default: a spec that was written out whole is taken again.
    """
    for path, read, otherwise in _only_read(spec):
        here = _at(spec, path)
        if not read and here not in (_at(untouched, path), _default(spec, path)):
            yield _problem(path, "has-no-effect", f"{path} has no effect here: leave it out, or {otherwise}.")
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
        yield _problem("penalties", "penalty-twice", "Each kind of penalty may stand once; add up their weights.")
    if not kinds:
        return
    if normalises_by_batch(spec):
        detail = (
            f"A gradient penalty is of one image alone, and BatchNorm in D mixes the batch: {_NORMS_OF_ONE_IMAGE}."
        )
        yield _problem("discriminator.normalization", "penalty-with-batch-norm", detail)
    if spec.discriminator.minibatch_features:
        detail = (
            "A gradient penalty is of one image alone, and minibatch discrimination mixes the batch: set one to 0."
        )
        yield _problem("discriminator.minibatch_features", "penalty-with-minibatch", detail)
    if spec.stabilizers.weight_clip and "gradient_penalty" in kinds:
        detail = "Clipping and a gradient penalty bound D twice: set stabilizers.weight_clip to 0 or penalties to []."
        yield _problem("stabilizers.weight_clip", "clip-with-gradient-penalty", detail)


def normalises_by_batch(spec: TrainSpec) -> bool:
    """Whether D has BatchNorm."""
    d = spec.discriminator
    return "normalization" in FAMILIES[d.architecture].options and d.normalization == "batch"


def _wasserstein(spec: TrainSpec) -> Iterable[SpecProblem]:
    bounded = spec.stabilizers.weight_clip or spec.penalties or spec.discriminator.spectral_norm
    if spec.loss.kind == "wasserstein" and not bounded:
        detail = (
            "A Wasserstein critic must be Lipschitz: add a gradient_penalty to penalties, or set "
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
            "G has no BatchNorm that could be conditional: set conditioning.generator to 'concat', or "
            f"generator.architecture to {_either(able)} with generator.normalization 'batch'."
        )
        yield _problem("conditioning.generator", "no-batch-norm", detail)


def _stabilizers(spec: TrainSpec) -> Iterable[SpecProblem]:
    smoothed = spec.stabilizers.real_label != 1.0 or spec.stabilizers.fake_label != 0.0
    if smoothed and spec.loss.kind not in CROSS_ENTROPY:
        detail = (
            f"Labels are smoothed in a cross entropy, and {spec.loss.kind} is none: set stabilizers.real_label to 1 "
            "and fake_label to 0, or loss.kind to 'non_saturating'."
        )
        where = "real_label" if spec.stabilizers.real_label != 1.0 else "fake_label"
        yield _problem(f"stabilizers.{where}", "smoothing-without-cross-entropy", detail)
    if len(set(spec.stabilizers.augmentation)) < len(spec.stabilizers.augmentation):
        yield _problem("stabilizers.augmentation", "augmentation-twice", "Each kind of augmentation may stand once.")


def _quality(spec: TrainSpec) -> Iterable[SpecProblem]:
    if spec.safeguards.policy == "stop_and_keep_best" and not spec.evaluation.enabled:
        detail = "Without evaluations nobody knows the best: set evaluation.enabled to true, or the policy to 'warn'."
        yield _problem("safeguards.policy", "best-without-evaluation", detail)
    if spec.evaluation.train_on_fakes and not spec.conditional:
        detail = "A classifier needs labelled fakes: set conditioning.kind, or evaluation.train_on_fakes to false."
        yield _problem("evaluation.train_on_fakes", "not-conditional", detail)


def _too_often(spec: TrainSpec) -> Iterable[SpecProblem]:
    for section, most, what in (("previews", MOST_PREVIEWS, "draw"), ("evaluation", MOST_EVALUATIONS, "make")):
        count = spec.total_steps // getattr(spec, section).every_steps
        if count > most and (section == "previews" or spec.evaluation.enabled):
            noun = "previews" if section == "previews" else "evaluations"
            detail = (
                f"That would {what} {count} {noun}, and all are kept: set {section}.every_steps to "
                f"{-(-spec.total_steps // most)} or more."
            )
            yield _problem(f"{section}.every_steps", f"too-many-{noun}", detail)


def _only_read(spec: TrainSpec) -> Iterable[tuple[str, bool, str]]:
    """The fields that are not always read; whether `spec` has them read, and what to set so that they are."""
    for network in ("generator", "discriminator"):
        yield from _of_network(network, getattr(spec, network).architecture)
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
        changes = optimizer.schedule != "constant"
        yield f"optimizers.{player}.final_factor", changes, "set the optimizer's schedule to 'linear' or 'cosine'"
    counted = spec.alternation.unit != "odd_even"
    for field in ("d_steps", "g_steps"):
        yield f"alternation.{field}", counted, "set alternation.unit to 'step' or 'epoch'"
    noisy = spec.stabilizers.instance_noise > 0
    yield "stabilizers.instance_noise_until", noisy, "set stabilizers.instance_noise above 0"
    yield "ema.half_life_images", spec.ema.enabled, "set ema.enabled to true"
    for field in ("every_steps", "images", "neighbours", "train_on_fakes"):
        yield f"evaluation.{field}", spec.evaluation.enabled, "set evaluation.enabled to true"


def _of_network(network: str, architecture: Architecture) -> Iterable[tuple[str, bool, str]]:
    for field in OPTIONAL_FIELDS:
        otherwise = f"set the architecture of generator and discriminator to {_either(families_with(field))}"
        yield f"{network}.{field}", field in FAMILIES[architecture].fields, otherwise


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
