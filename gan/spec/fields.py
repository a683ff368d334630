"""The fields of a spec: every field that a user may set, with its meaning, unit, default and bounds.

`gan.spec.rules` checks which fields go together; `resolve` applies both. This module imports pydantic only.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from gan.spec.base import INTEGRAL, Int, SpecModel, with_property_names
from gan.spec.networks import DiscriminatorSpec, GeneratorSpec
from gan.spec.presets import DEFAULT_PRESET
from gan.spec.safeguards import SafeguardsSpec
from gan.spec.text import UNSEEN, nfc

SPEC_VERSION: Final = 2
MAX_PREVIEWS: Final = 10_000
MAX_EVALUATIONS: Final = 2_000
MAX_PREVIEW_PIXELS: Final = 100_000_000
"""The pixels of one preview; a program that shows it has all of them in memory."""

# The same values as in `gan.sample`, which this module cannot import because it imports torch. Tiles whose longer
# side is below the first are enlarged by an integer factor; the second is the gap between tiles; the third is the
# number of rows without classes.
_READABLE_TILE, _TILE_GAP, _UNLABELLED_ROWS = 56, 2, 8

_PLAIN: Final = rf"^[^{UNSEEN}]*$"

# Before the other rules, because the normal form of some scripts is longer.
_NFC: Final = BeforeValidator(lambda value: nfc(value) if isinstance(value, str) else value)

Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_PLAIN), _NFC]
LabelKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,62}$")]
LabelValue = Annotated[str, StringConstraints(max_length=200, pattern=_PLAIN), _NFC]

ConditioningKind = Literal["none", "concat", "projection", "class_head"]
LossKind = Literal["minimax", "non_saturating", "least_squares", "wasserstein", "hinge", "relativistic"]
# The losses whose D minimises a cross entropy: its labels can be smoothed, and its sigmoid is a probability.
CROSS_ENTROPY: Final = ("minimax", "non_saturating")
PenaltyKind = Literal["gradient_penalty", "r1", "r2"]
Schedule = Literal["constant", "linear", "cosine"]
Augmentation = Literal["color", "translation", "cutout"]


class ConditioningSpec(SpecModel):
    """The paths of the class label into G and D."""

    kind: ConditioningKind = Field(
        "concat",
        description="How D gets the label. none: G and D do not use labels. concat: its embedding is an additional "
        "channel of the image (Mirza and Osindero 2014). projection: the inner product of its embedding with D's "
        "features is added to the logit (Miyato and Koyama 2018). class_head: D gets no label and predicts the class "
        "(AC-GAN, Odena et al. 2017).",
    )
    generator: Literal["concat", "conditional_batch_norm"] = Field(
        "concat",
        description="How G gets the label. concat: its embedding is appended to z. conditional_batch_norm: each "
        "BatchNorm has a scale and a shift per class (Dumoulin et al. 2017).",
    )
    embedding_dim: Int = Field(
        32, ge=1, le=512, description="Length of the label's embedding in G, and in D for an mlp."
    )
    class_weight: float = Field(
        1.0, gt=0, le=100, description="class_head: weight of the classification loss in the losses of D and G."
    )


class LossSpec(SpecModel):
    """The losses that D and G minimise."""

    kind: LossKind = Field(
        "non_saturating",
        description="minimax: G minimises E log(1 - D(G(z))); non_saturating: G minimises -E log D(G(z)) (both "
        "Goodfellow et al. 2014). least_squares (Mao et al. 2017), wasserstein (Arjovsky et al. 2017), hinge (Lim "
        "and Ye 2017), relativistic: relativistic pairing (Jolicoeur-Martineau 2018).",
    )


class PenaltySpec(SpecModel):
    """A penalty on D's gradient, which is added to D's loss."""

    kind: PenaltyKind = Field(
        description="gradient_penalty: weight * E(|grad D| - 1)^2 on points between reals and fakes (Gulrajani et "
        "al. 2017). r1: weight/2 * E|grad D|^2 on reals; r2: the same on fakes (both Mescheder et al. 2018)."
    )
    weight: float = Field(gt=0, le=100_000, description="lambda of gradient_penalty, gamma of r1 and r2.")
    schedule: Schedule = Field("constant", description="How the weight changes during the run.")
    final_factor: float = Field(1.0, ge=0, le=1, description="The weight at the last step, as a share of `weight`.")


class OptimizerSpec(SpecModel):
    """The optimizer of one network."""

    kind: Literal["adam", "rmsprop"] = Field("adam", description="adam (Kingma and Ba 2015) or rmsprop.")
    learning_rate: float = Field(6e-4, gt=0, le=1, description="Step size.")
    beta1: float = Field(0.5, ge=0, lt=1, description="adam: decay rate of the mean of the gradient.")
    beta2: float = Field(
        0.999, ge=0, lt=1, description="Decay rate of the mean of the squared gradient (alpha of RMSprop)."
    )
    schedule: Schedule = Field("constant", description="How the learning rate changes during the run.")
    final_factor: float = Field(
        1.0, ge=0, le=1, description="The learning rate at the last step, as a share of `learning_rate`."
    )


class OptimizersSpec(SpecModel):
    """One optimizer for each of G and D."""

    g: OptimizerSpec = Field(OptimizerSpec(), description="Optimizer of G.")
    d: OptimizerSpec = Field(OptimizerSpec(), description="Optimizer of D.")


class AlternationSpec(SpecModel):
    """The numbers of updates of D and G, and their order."""

    unit: Literal["step", "epoch", "odd_even"] = Field(
        "step",
        description="step: each step has d_steps updates of D, then g_steps updates of G. epoch: D is updated for "
        "d_steps epochs, then G for g_steps epochs; a step is one update. odd_even: odd steps update D, even steps "
        "update G.",
    )
    d_steps: Int = Field(1, ge=1, le=100, description="Updates (unit epoch: epochs) of D before those of G.")
    g_steps: Int = Field(1, ge=1, le=100, description="Updates (unit epoch: epochs) of G after those of D.")
    fakes: Literal["shared", "fresh"] = Field(
        "shared",
        description="The fakes of G's update, if a step has one update of each and G's loss needs no reals. shared: "
        "those of D's update. fresh: new ones, as in algorithm 1 of Goodfellow et al. 2014, and in all other cases.",
    )


class StabilizersSpec(SpecModel):
    """Optional techniques that make training more stable."""

    real_label: float = Field(
        1.0,
        ge=0.5,
        le=1,
        description="D's target for reals; below 1 is label smoothing (Salimans et al. 2016).",
    )
    fake_label: float = Field(
        0.0, ge=0, le=0.5, description="D's target for fakes; one-sided label smoothing leaves it at 0."
    )
    instance_noise: float = Field(
        0.0,
        ge=0,
        le=2,
        description="Standard deviation of Gaussian noise on all images that D gets (Soenderby et al. 2017); 0: off.",
    )
    instance_noise_until: float = Field(
        0.5, gt=0, le=1, description="Share of the run after which the noise has fallen to 0."
    )
    augmentation: tuple[Augmentation, ...] = Field(
        (),
        max_length=3,
        description="DiffAugment on all images that D gets, real and fake (Zhao et al. 2020): color, translation, "
        "cutout.",
    )
    feature_matching: bool = Field(
        False,
        description="In place of its loss, G matches the mean of D's features over a batch of reals (Salimans et al. "
        "2016).",
    )
    historical_averaging: float = Field(
        0.0,
        ge=0,
        le=100,
        description="Weight of the squared distance of the weights to the mean of their past values (Salimans et al. "
        "2016); 0: off.",
    )
    weight_clip: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Clip each weight of D to plus or minus this value (Arjovsky et al. 2017); 0: off.",
    )


class EmaSpec(SpecModel):
    """The exponential moving average of G's weights, from which samples are drawn (Karras et al. 2018)."""

    enabled: bool = Field(True, description="true: sample from the average; false: sample from G itself.")
    half_life_images: Int = Field(
        6_000,
        ge=1,
        le=100_000_000,
        description="Half-life of a weight in the average, in real images shown to D. It is never longer than 5 % of "
        "the images shown so far.",
    )


class EvaluationSpec(SpecModel):
    """Quality metrics during training, measured with a feature network that is trained on the data set itself."""

    enabled: bool = Field(True, description="false: no quality metrics and no best checkpoint.")
    every_steps: Int = Field(500, ge=1, le=10_000_000, description="Steps between two evaluations.")
    images: Int = Field(2_000, ge=100, le=50_000, description="Images drawn for each evaluation.")
    neighbours: Int = Field(
        5, ge=1, le=50, description="Number of neighbours k for precision, recall, density and coverage."
    )
    train_on_fakes: bool = Field(
        False,
        description="At the end, train a classifier on generated images alone and test it on real ones.",
    )


class PreviewsSpec(SpecModel):
    """Images of the same fixed latents, drawn repeatedly during training."""

    every_steps: Int = Field(200, ge=1, le=10_000_000, description="Steps between two previews.")
    per_class: Int = Field(8, ge=1, le=32, description="Images of each class; without classes: columns, in 8 rows.")


class CheckpointsSpec(SpecModel):
    """Checkpoints, from which training can resume, and their weights, from which samples are drawn."""

    every_steps: Int = Field(500, ge=1, le=10_000_000, description="Steps between two checkpoints.")
    keep_last: Int = Field(
        3, ge=1, le=1000, description="Number of latest checkpoints to keep, in addition to the best one."
    )


class ResourcesSpec(SpecModel):
    """The resources of a worker that the job needs."""

    gpus: Int = Field(
        0, ge=0, le=1, description="GPUs that the worker must have; 0: any worker, which uses its GPU if it has one."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="bf16: the networks run under autocast in bfloat16; losses, penalties and optimizers stay in "
        "fp32. auto: bf16 if the device supports it in hardware, otherwise fp32.",
    )


class TrainSpec(SpecModel):
    """A request to train, with every default written out."""

    spec_version: Literal[2] = Field(SPEC_VERSION, description="Version of this schema.")
    name: Text | None = Field(None, description="A name for people; it need not be unique.")
    labels: dict[LabelKey, LabelValue] = Field(
        {},
        max_length=16,
        description="Key-value pairs to find the job by; at most 16.",
        json_schema_extra=with_property_names,
    )
    dataset: Text = Field(description="Name or id of a registered data set.")
    preset: Text = Field(DEFAULT_PRESET, description="A preset, whose values apply to all fields that are not given.")
    total_steps: Int = Field(
        2_000, ge=1, le=10_000_000, description="Steps to train; `alternation` defines one step."
    )
    batch_size: Int = Field(
        64, ge=2, le=4096, description="Real images in one update of D, and fakes in one update of G."
    )
    seed: Int = Field(
        0, ge=0, le=2**63 - 1, description="Seed of the initial weights, the latents and the order of the data."
    )
    generator: GeneratorSpec = Field(GeneratorSpec(), description="G, which maps a latent z and a label to an image.")
    discriminator: DiscriminatorSpec = Field(
        DiscriminatorSpec(), description="D, which maps an image and a label to one logit."
    )
    conditioning: ConditioningSpec = Field(ConditioningSpec(), description="How G and D get the class label.")
    loss: LossSpec = Field(LossSpec(), description="The losses that G and D minimise.")
    penalties: tuple[PenaltySpec, ...] = Field((), max_length=3, description="Penalties that are added to D's loss.")
    optimizers: OptimizersSpec = Field(OptimizersSpec(), description="The optimizers of G and D.")
    alternation: AlternationSpec = Field(AlternationSpec(), description="The order in which D and G are updated.")
    stabilizers: StabilizersSpec = Field(StabilizersSpec(), description="Techniques that stabilise training.")
    ema: EmaSpec = Field(EmaSpec(), description="The average of G's weights, from which samples are drawn.")
    evaluation: EvaluationSpec = Field(EvaluationSpec(), description="Quality metrics and the best checkpoint.")
    safeguards: SafeguardsSpec = Field(
        SafeguardsSpec(), description="When a run counts as failing, and what is then done."
    )
    previews: PreviewsSpec = Field(PreviewsSpec(), description="Images of fixed latents, drawn during training.")
    checkpoints: CheckpointsSpec = Field(
        CheckpointsSpec(), description="How often checkpoints are saved, and how many are kept."
    )
    resources: ResourcesSpec = Field(ResourcesSpec(), description="Devices and precision.")
    priority: Int = Field(
        0, ge=-100, le=100, description="Jobs of higher priority start first; among equal ones, the oldest."
    )
    max_attempts: Int = Field(3, ge=1, le=20, description="Number of attempts that may crash before the job fails.")
    max_runtime_seconds: Annotated[int, Field(ge=1, le=31_536_000), INTEGRAL] | None = Field(
        None,
        description="Longest running time of all attempts together, in seconds, after which the job fails. null: no "
        "limit.",
    )

    @property
    def conditional(self) -> bool:
        """Whether G is conditional: it draws the class that a label asks for."""
        return self.conditioning.kind != "none"

    def most_per_class(self, classes: int, height: int, width: int) -> int:
        """Return the largest `previews.per_class` for `classes` classes and images of `height` x `width` pixels."""
        scale = max(1, -(-_READABLE_TILE // max(height, width)))
        tile = (height * scale + _TILE_GAP) * (width * scale + _TILE_GAP)
        rows = classes if self.conditional and classes else _UNLABELLED_ROWS
        return max(1, MAX_PREVIEW_PIXELS // (rows * tile))

    @property
    def images_per_step(self) -> float:
        """The mean number of real images shown to D per step."""
        alternation = self.alternation
        match alternation.unit:
            case "step":
                return float(self.batch_size * alternation.d_steps)
            case "odd_even":
                return self.batch_size / 2
            case "epoch":
                return self.batch_size * alternation.d_steps / (alternation.d_steps + alternation.g_steps)

    @property
    def g_sees_reals(self) -> bool:
        """Whether G's loss needs a batch of reals: for relativistic pairs, or for feature matching."""
        return self.loss.kind == "relativistic" or self.stabilizers.feature_matching

    @property
    def shares_fakes(self) -> bool:
        """Whether D and G use the same fakes: a step has one update of each, and G's loss needs no reals."""
        one_each = (self.alternation.unit, self.alternation.d_steps, self.alternation.g_steps) == ("step", 1, 1)
        return one_each and not self.g_sees_reals and self.alternation.fakes == "shared"

    @property
    def scheduled(self) -> bool:
        """Whether a value changes with the share of the run that is done, so that `total_steps` affects learning."""
        schedules = [self.optimizers.g.schedule, self.optimizers.d.schedule, *(p.schedule for p in self.penalties)]
        return self.stabilizers.instance_noise > 0 or set(schedules) != {"constant"}
