"""What a user asks of training: one closed, frozen, versioned class.

`TrainSpec` is the POST body, the JSON column, `Trainer(spec)` and the YAML file of `python -m gan train`.
It is checked once, at the door (`resolve`, then `check_against`); inside, it is trusted.
Imports pydantic only: the face and the record read it without loading torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from gan.catalog import BUILTIN_DATASETS, DatasetClass, DatasetInfo
from gan.presets import DEFAULT_PRESET, PRESETS, Preset
from gan.problems import PROBLEM_CODES, SpecError, SpecProblem, pointer_to, problem_of

__all__ = [
    "BUILTIN_DATASETS",
    "DEFAULT_PRESET",
    "PRESETS",
    "PROBLEM_CODES",
    "SPEC_VERSION",
    "DatasetClass",
    "DatasetInfo",
    "Preset",
    "SpecError",
    "SpecProblem",
    "TrainSpec",
    "UnknownPreset",
    "check_against",
    "image_size",
    "pointer_to",
    "preset_spec",
    "resolve",
]

SPEC_VERSION: Final = 1
MOST_PREVIEWS: Final = 10_000


def _integral(value: object) -> object:
    """JSON has one number type: 64.0 is the integer 64 (and 64.5, true and "64" are not)."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Int = Annotated[int, BeforeValidator(_integral)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
LabelKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,62}$")]
LabelValue = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class _Closed(BaseModel):
    # Strict, so that "12" and true are not silently numbers; no NaN or infinity gets past the door.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class GeneratorSpec(_Closed):
    """G: from a latent z (and a label) to an image."""

    architecture: Literal["dcgan", "mlp"] = Field(
        "dcgan", description="Family of networks: dcgan (strided convolutions) or mlp (fully connected)."
    )
    base_channels: Int = Field(
        32,
        ge=4,
        le=256,
        description="dcgan: channels of the widest feature map's last halving (ngf); a width.",
    )
    hidden_units: Int = Field(256, ge=8, le=4096, description="mlp: units of the first hidden layer; it doubles.")
    z_dim: Int = Field(64, ge=1, le=1024, description="Length of the latent vector z.")
    z_distribution: Literal["normal", "uniform"] = Field(
        "normal", description="Where z is drawn: normal is N(0, 1), uniform is U(-1, 1)."
    )


class DiscriminatorSpec(_Closed):
    """D: from an image (and a label) to one logit."""

    architecture: Literal["dcgan", "mlp"] = Field("dcgan", description="Family of networks; the same as G's.")
    base_channels: Int = Field(32, ge=4, le=256, description="dcgan: channels of the first feature map (ndf).")
    hidden_units: Int = Field(512, ge=8, le=4096, description="mlp: units of the first hidden layer; it halves.")


class ConditioningSpec(_Closed):
    """How a class label enters G and D."""

    kind: Literal["none", "concat"] = Field(
        "concat",
        description="none: labels are not used. concat: an embedding of the label is joined to z in G and to "
        "the image, as one more channel, in D (Mirza and Osindero 2014).",
    )
    embedding_dim: Int = Field(32, ge=1, le=512, description="Length of the label embedding of G, and of an mlp's D.")


class LossSpec(_Closed):
    """The game that is played."""

    kind: Literal["minimax", "non_saturating"] = Field(
        "non_saturating",
        description="G's loss: minimax is E log(1 - D(G(z))), non_saturating is -E log D(G(z)) "
        "(Goodfellow et al. 2014). D's loss is the same in both.",
    )


class AdamSpec(_Closed):
    """Adam (Kingma and Ba 2015) for one network."""

    learning_rate: float = Field(6e-4, gt=0, le=1, description="Step size.")
    beta1: float = Field(0.5, ge=0, lt=1, description="Decay of the mean of the gradient.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Decay of the mean of its square.")


class OptimizersSpec(_Closed):
    """One optimizer a network."""

    g: AdamSpec = Field(AdamSpec(), description="Adam for the weights of G.")
    d: AdamSpec = Field(AdamSpec(), description="Adam for the weights of D.")


class AlternationSpec(_Closed):
    """Who moves when."""

    d_steps: Int = Field(1, ge=1, le=100, description="Updates of D in one step.")
    g_steps: Int = Field(1, ge=1, le=100, description="Updates of G in one step, after D's.")


class EmaSpec(_Closed):
    """An exponential moving average of G's weights, from which samples are drawn (Karras et al. 2018)."""

    enabled: bool = Field(True, description="Sample from the average; off: sample from G itself.")
    half_life_images: Int = Field(
        6_000,
        ge=1,
        le=100_000_000,
        description="Real images shown to D until a weight's share has halved; shorter at the start, where it is "
        "held to 5 % of the images shown so far.",
    )


class PreviewsSpec(_Closed):
    """The same fixed latents, drawn again and again."""

    every_steps: Int = Field(100, ge=1, le=10_000_000, description="Steps from one preview to the next.")
    per_class: Int = Field(8, ge=1, le=32, description="Images of each class; unconditional: columns of 8 rows.")


class CheckpointsSpec(_Closed):
    """All that is needed to go on, and the weights to sample from."""

    every_steps: Int = Field(300, ge=1, le=10_000_000, description="Steps from one checkpoint to the next.")
    keep_last: Int = Field(3, ge=1, le=1000, description="How many of the newest are kept.")


class ResourcesSpec(_Closed):
    """What the job needs of a worker."""

    gpus: Int = Field(
        0,
        ge=0,
        le=1,
        description="GPUs it must have: 0 takes whatever the worker has, a GPU when there is one.",
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="bf16: networks under autocast; losses and optimizers stay in fp32."
    )


class TrainSpec(_Closed):
    """One request to train, every default written out."""

    spec_version: Literal[1] = Field(SPEC_VERSION, description="Version of this form.")
    name: Text | None = Field(None, description="A name for people; need not be unique.")
    labels: dict[LabelKey, LabelValue] = Field(
        {},
        max_length=16,
        description="Key-value pairs to find the job by; at most 16.",
        json_schema_extra={"additionalProperties": False},
    )
    dataset: Text = Field(description="Name or id of a registered data set.")
    preset: Text = Field(DEFAULT_PRESET, description="A named starting point, whose fields the others override.")
    total_steps: Int = Field(
        900,
        ge=1,
        le=10_000_000,
        description="Steps to train; one is d_steps updates of D, then g_steps of G.",
    )
    batch_size: Int = Field(64, ge=2, le=4096, description="Real images in one update of D; fakes in one of G.")
    seed: Int = Field(0, ge=0, le=2**63 - 1, description="Seed of weights, latents and data order.")
    generator: GeneratorSpec = Field(GeneratorSpec(), description="G: from a latent z and a label to an image.")
    discriminator: DiscriminatorSpec = Field(
        DiscriminatorSpec(), description="D: from an image and a label to one logit."
    )
    conditioning: ConditioningSpec = Field(ConditioningSpec(), description="How class labels enter G and D.")
    loss: LossSpec = Field(LossSpec(), description="What G and D minimise.")
    optimizers: OptimizersSpec = Field(OptimizersSpec(), description="How the weights of each network move.")
    alternation: AlternationSpec = Field(AlternationSpec(), description="Updates of D and of G in one step.")
    ema: EmaSpec = Field(EmaSpec(), description="G_ema, the averaged generator that samples are drawn from.")
    previews: PreviewsSpec = Field(PreviewsSpec(), description="Fixed latents drawn while training.")
    checkpoints: CheckpointsSpec = Field(CheckpointsSpec(), description="What is kept, and how often.")
    resources: ResourcesSpec = Field(ResourcesSpec(), description="Devices and precision.")
    priority: Int = Field(0, ge=-100, le=100, description="Higher is claimed first; equals by age.")
    max_attempts: Int = Field(3, ge=1, le=20, description="Attempts that may crash before the job fails.")

    @property
    def conditional(self) -> bool:
        """Whether G draws a class by its label."""
        return self.conditioning.kind != "none"


class UnknownPreset(SpecError):
    """A preset's name that there is none of."""

    def __init__(self, name: object) -> None:
        known = ", ".join(PRESETS)
        detail = f"There is no preset {str(name)[:200]!r}. Take one of: {known}."
        super().__init__([SpecProblem(pointer="/preset", code="unknown-preset", detail=detail)])


def resolve(body: Mapping[str, Any]) -> TrainSpec:
    """Lay `body` over its preset and the defaults; every default is written out in the answer.

    Raises `UnknownPreset` or `SpecError` with a pointer for each problem, all at once.
    """
    name = body.get("preset", DEFAULT_PRESET)
    if not isinstance(name, str):
        # Say "wrong type" of the preset, in the words every other field gets.
        overrides: Mapping[str, Any] = {}
    elif name in PRESETS:
        overrides = PRESETS[name].overrides
    else:
        raise UnknownPreset(name)
    try:
        spec = _laid_over(overrides, body)
    except ValidationError as error:
        raise SpecError(_problem(e) for e in error.errors(include_url=False)) from None
    if problems := [*_combinations(spec), *_without_effect(spec, _laid_over(overrides, {"dataset": spec.dataset}))]:
        raise SpecError(problems)
    return spec


def preset_spec(name: str, dataset: str = "fashion-mnist-mini") -> TrainSpec:
    """The full spec of a preset on `dataset`. Raises `UnknownPreset`."""
    return resolve({"preset": name, "dataset": dataset})


def check_against(spec: TrainSpec, dataset: DatasetInfo) -> None:
    """Raise `SpecError` where `spec` asks of `dataset` what it does not have."""
    problems = []
    if spec.conditional and not dataset.classes:
        problems.append(
            SpecProblem(
                pointer="/conditioning/kind",
                code="dataset-without-labels",
                detail=f"The images of {dataset.name!r} carry no labels. Set conditioning.kind to 'none', "
                "or take a data set with classes.",
            )
        )
    if spec.batch_size > dataset.num_images:
        problems.append(
            SpecProblem(
                pointer="/batch_size",
                code="batch-larger-than-dataset",
                detail=f"{dataset.name!r} has {dataset.num_images} images; set batch_size to that or fewer.",
            )
        )
    if max(dataset.height, dataset.width) > 128:
        problems.append(
            SpecProblem(
                pointer="/dataset",
                code="images-too-large",
                detail=f"The images are {dataset.width} x {dataset.height}; the networks reach 128 x 128.",
            )
        )
    if problems:
        raise SpecError(problems)


def image_size(spec: TrainSpec, dataset: DatasetInfo) -> int:
    """The side in pixels at which the networks work; images are padded to it with black.

    mlp: the image's own; dcgan: the next power of two, 16 at the least (28 is padded to 32).
    """
    side = max(dataset.height, dataset.width)
    return side if spec.generator.architecture == "mlp" else max(16, 1 << (side - 1).bit_length())


def _combinations(spec: TrainSpec) -> Iterable[SpecProblem]:
    g, d = spec.generator.architecture, spec.discriminator.architecture
    if g != d:
        yield SpecProblem(
            pointer="/discriminator/architecture",
            code="architectures-differ",
            detail=f"G is {g} and D is {d}: they work at different image sizes. Set both to {g!r} or both to {d!r}.",
        )
    if spec.total_steps // spec.previews.every_steps > MOST_PREVIEWS:
        yield SpecProblem(
            pointer="/previews/every_steps",
            code="too-many-previews",
            detail=f"That would draw {spec.total_steps // spec.previews.every_steps} previews, and all are kept: set "
            f"previews.every_steps to {-(-spec.total_steps // MOST_PREVIEWS)} or more.",
        )


def _without_effect(spec: TrainSpec, untouched: TrainSpec) -> Iterable[SpecProblem]:
    """What the user changed of `untouched` (the preset and the defaults) that nothing in `spec` reads.

    Only changes count: a spec that was written out whole is taken again.
    """
    for path, read, otherwise in _only_read(spec):
        section, field = path.split(".")
        here, before = (getattr(getattr(one, section), field) for one in (spec, untouched))
        if not read and here != before:
            yield SpecProblem(
                pointer=f"/{section}/{field}",
                code="has-no-effect",
                detail=f"{path} has no effect here: leave it out, or {otherwise}.",
            )


def _only_read(spec: TrainSpec) -> Iterable[tuple[str, bool, str]]:
    """The fields that are not always read; whether `spec` has them read, and what to set so that they are."""
    for network in ("generator", "discriminator"):
        architecture = getattr(spec, network).architecture
        for field, reader in (("base_channels", "dcgan"), ("hidden_units", "mlp")):
            otherwise = f"set the architecture of generator and discriminator to {reader!r}"
            yield f"{network}.{field}", architecture == reader, otherwise
    yield "conditioning.embedding_dim", spec.conditional, "set conditioning.kind to 'concat'"
    yield "ema.half_life_images", spec.ema.enabled, "set ema.enabled to true"


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> TrainSpec:
    return TrainSpec.model_validate_json(json.dumps(_merge(below, above)))


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, objects field by field, everything else whole."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        both = isinstance(under, Mapping) and isinstance(value, Mapping)
        merged[key] = _merge(under, value) if both else value  # type: ignore[arg-type]
    return merged


def _problem(error: ErrorDetails) -> SpecProblem:
    return problem_of(error, _fields_at([str(part) for part in error["loc"][:-1]]))


def _fields_at(path: list[str]) -> list[str]:
    """The names of the fields of the object at `path` in a spec."""
    model: type[BaseModel] = TrainSpec
    for part in path:
        inner = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)
