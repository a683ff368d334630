"""The form of a spec: every field that a user may set, its meaning, unit, default and bounds.

`gan.spec.rules` says which fields go together; `gan.spec` is the door that both are reached through. Pydantic only.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from gan.spec.base import INTEGRAL, Int, SpecModel
from gan.spec.families import FAMILIES, Architecture, families_with
from gan.spec.presets import DEFAULT_PRESET
from gan.spec.safeguards import SafeguardsSpec

SPEC_VERSION: Final = 2
MOST_PREVIEWS: Final = 10_000
MOST_EVALUATIONS: Final = 2_000
MOST_PREVIEW_PIXELS: Final = 100_000_000
"""Of one preview: whoever shows it holds all of them at once."""

# As `gan.sample` draws them, which imports torch: tiles smaller than this are enlarged by a whole factor, with a gap
# between them; without classes there are so many rows.
_READABLE_TILE, _TILE_GAP, _UNLABELLED_ROWS = 56, 2, 8

UNSEEN: Final = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
"""Within a regular expression's [...]: control characters, marks that break lines or turn the direction of writing.
A text that holds one is not what it looks like.
"""
_PLAIN: Final = rf"^[^{UNSEEN}]*$"

Text = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_PLAIN)]
LabelKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,62}$")]
LabelValue = Annotated[str, StringConstraints(max_length=200, pattern=_PLAIN)]

ConditioningKind = Literal["none", "concat", "projection", "class_head"]
LossKind = Literal["minimax", "non_saturating", "least_squares", "wasserstein", "hinge", "relativistic"]
# The games whose D minimises a cross entropy, so that its labels may be smoothed and its opinion is a share.
CROSS_ENTROPY: Final = ("minimax", "non_saturating")
PenaltyKind = Literal["gradient_penalty", "r1", "r2"]
Schedule = Literal["constant", "linear", "cosine"]
Augmentation = Literal["color", "translation", "cutout"]

_FAMILIES: Final = ", ".join(f"{name} ({family.summary})" for name, family in FAMILIES.items())
_READ_BY: Final = {
    field: ", ".join(families_with(field)) for field in ("hidden_units", "normalization", "self_attention")
}
_SELF_ATTENTION: Final = (
    f"{_READ_BY['self_attention']}: attention over the feature map of half the image's side (Zhang 2019)."
)


class GeneratorSpec(SpecModel):
    """G: from a latent z (and a label) to an image."""

    architecture: Architecture = Field("dcgan", description=f"Family of networks: {_FAMILIES}.")
    base_channels: Int = Field(
        32, ge=4, le=256, description="Convolutions: channels of the largest feature map (ngf); a width."
    )
    hidden_units: Int = Field(
        256, ge=8, le=4096, description=f"{_READ_BY['hidden_units']}: units of the first hidden layer; it doubles."
    )
    z_dim: Int = Field(64, ge=1, le=1024, description="Length of the latent vector z.")
    z_distribution: Literal["normal", "uniform"] = Field(
        "normal", description="Where z is drawn: normal is N(0, 1), uniform is U(-1, 1)."
    )
    normalization: Literal["batch", "virtual_batch", "none"] = Field(
        "batch",
        description=f"{_READ_BY['normalization']}: after each layer but the last. virtual_batch normalises by a fixed "
        "reference batch (Salimans et al. 2016).",
    )
    spectral_norm: bool = Field(False, description="Divide each weight by its largest singular value (Zhang 2019).")
    self_attention: bool = Field(False, description=_SELF_ATTENTION)


class DiscriminatorSpec(SpecModel):
    """D: from an image (and a label) to one logit."""

    architecture: Architecture = Field("dcgan", description="Family of networks; it must work at G's image size.")
    base_channels: Int = Field(32, ge=4, le=256, description="Convolutions: channels of the first feature map (ndf).")
    hidden_units: Int = Field(
        512, ge=8, le=4096, description=f"{_READ_BY['hidden_units']}: units of the first hidden layer; it halves."
    )
    normalization: Literal["batch", "layer", "none"] = Field(
        "batch",
        description=f"{_READ_BY['normalization']}: after each layer but the first. A gradient penalty forbids batch.",
    )
    spectral_norm: bool = Field(
        False, description="Divide each weight by its largest singular value (Miyato et al. 2018)."
    )
    self_attention: bool = Field(False, description=_SELF_ATTENTION)
    minibatch_features: Int = Field(
        0,
        ge=0,
        le=256,
        description="Kernels of minibatch discrimination, which let D see a batch side by side (Salimans et al. "
        "2016); 0: off.",
    )


class ConditioningSpec(SpecModel):
    """How a class label enters G and D."""

    kind: ConditioningKind = Field(
        "concat",
        description="How D takes the label. none: labels are not used. concat: its embedding is one more channel of "
        "the image (Mirza and Osindero 2014). projection: the inner product of its embedding with D's features "
        "(Miyato and Koyama 2018). class_head: D names the class itself (AC-GAN, Odena et al. 2017).",
    )
    generator: Literal["concat", "conditional_batch_norm"] = Field(
        "concat",
        description="How G takes it. concat: its embedding is joined to z. conditional_batch_norm: scale and shift "
        "of each BatchNorm are the class's own (Dumoulin et al. 2017).",
    )
    embedding_dim: Int = Field(32, ge=1, le=512, description="Length of the label embedding of G, and of an mlp's D.")
    class_weight: float = Field(
        1.0, gt=0, le=100, description="class_head: weight of the classification loss in D's and in G's."
    )


class LossSpec(SpecModel):
    """The game that is played."""

    kind: LossKind = Field(
        "non_saturating",
        description="minimax: G descends E log(1 - D(G(z))); non_saturating: -E log D(G(z)) (Goodfellow et al. "
        "2014). least_squares (Mao et al. 2017), wasserstein (Arjovsky et al. 2017), hinge (Lim and Ye 2017), "
        "relativistic pairing (Jolicoeur-Martineau 2018).",
    )


class PenaltySpec(SpecModel):
    """One term that is added to D's loss."""

    kind: PenaltyKind = Field(
        description="gradient_penalty: weight E(|grad D| - 1)^2 between real and fake (Gulrajani et al. 2017). r1, "
        "r2: weight/2 E|grad D|^2 on reals, on fakes (Mescheder et al. 2018)."
    )
    weight: float = Field(gt=0, le=100_000, description="lambda of a gradient penalty, gamma of r1 and r2.")
    schedule: Schedule = Field("constant", description="How the weight changes over the run.")
    final_factor: float = Field(1.0, ge=0, le=1, description="Share of the weight that is left at the last step.")


class OptimizerSpec(SpecModel):
    """How the weights of one network move."""

    kind: Literal["adam", "rmsprop"] = Field("adam", description="Adam (Kingma and Ba 2015) or RMSprop.")
    learning_rate: float = Field(6e-4, gt=0, le=1, description="Step size.")
    beta1: float = Field(0.5, ge=0, lt=1, description="adam: decay of the mean of the gradient.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Decay of the mean of its square (RMSprop's alpha).")
    schedule: Schedule = Field("constant", description="How the learning rate changes over the run.")
    final_factor: float = Field(1.0, ge=0, le=1, description="Share of the learning rate left at the last step.")


class OptimizersSpec(SpecModel):
    """One optimizer a network."""

    g: OptimizerSpec = Field(OptimizerSpec(), description="For the weights of G.")
    d: OptimizerSpec = Field(OptimizerSpec(), description="For the weights of D.")


class AlternationSpec(SpecModel):
    """Who moves when."""

    unit: Literal["step", "epoch", "odd_even"] = Field(
        "step",
        description="step: each step is d_steps updates of D, then g_steps of G. epoch: D moves for d_steps epochs, "
        "then G for g_steps epochs; a step is one update. odd_even: D moves on odd steps, G on even ones.",
    )
    d_steps: Int = Field(1, ge=1, le=100, description="Updates (unit epoch: epochs) of D before it is G's turn.")
    g_steps: Int = Field(1, ge=1, le=100, description="Updates (unit epoch: epochs) of G after D's.")


class StabilizersSpec(SpecModel):
    """What keeps the game in balance."""

    real_label: float = Field(
        1.0,
        ge=0.5,
        le=1,
        description="What D is to say of a real: below 1 is label smoothing (Salimans et al. 2016).",
    )
    fake_label: float = Field(
        0.0, ge=0, le=0.5, description="What D is to say of a fake; one-sided smoothing keeps 0."
    )
    instance_noise: float = Field(
        0.0, ge=0, le=2, description="Deviation of Gaussian noise on all that D sees (Soenderby et al. 2017); 0: off."
    )
    instance_noise_until: float = Field(
        0.5, gt=0, le=1, description="Share of the run over which the noise fades to nothing."
    )
    augmentation: tuple[Augmentation, ...] = Field(
        (),
        max_length=3,
        description="DiffAugment on all that D sees, real and fake (Zhao et al. 2020): color, translation, cutout.",
    )
    feature_matching: bool = Field(
        False, description="G matches the batch mean of D's features in place of its loss (Salimans et al. 2016)."
    )
    historical_averaging: float = Field(
        0.0,
        ge=0,
        le=100,
        description="Weight of the squared distance to the mean of past weights (Salimans et al. 2016); 0: off.",
    )
    weight_clip: float = Field(
        0.0, ge=0, le=1, description="Hold each weight of D within this bound (Arjovsky et al. 2017); 0: off."
    )


class EmaSpec(SpecModel):
    """An exponential moving average of G's weights, from which samples are drawn (Karras et al. 2018)."""

    enabled: bool = Field(True, description="Sample from the average; off: sample from G itself.")
    half_life_images: Int = Field(
        6_000,
        ge=1,
        le=100_000_000,
        description="Real images shown to D until a weight's share has halved; shorter at the start, where it is "
        "held to 5 % of the images shown so far.",
    )


class EvaluationSpec(SpecModel):
    """How good the images are, measured while training with a feature network of the data set's own."""

    enabled: bool = Field(True, description="Off: no quality figures, no best checkpoint.")
    every_steps: Int = Field(500, ge=1, le=10_000_000, description="Steps from one evaluation to the next.")
    images: Int = Field(2_000, ge=100, le=50_000, description="Images drawn for each evaluation.")
    neighbours: Int = Field(5, ge=1, le=50, description="k of precision, recall, density and coverage.")
    train_on_fakes: bool = Field(
        False,
        description="At the end, train a classifier on generated images alone, and test it on real ones.",
    )


class PreviewsSpec(SpecModel):
    """The same fixed latents, drawn again and again."""

    every_steps: Int = Field(200, ge=1, le=10_000_000, description="Steps from one preview to the next.")
    per_class: Int = Field(8, ge=1, le=32, description="Images of each class; unconditional: columns of 8 rows.")


class CheckpointsSpec(SpecModel):
    """All that is needed to go on, and the weights to sample from."""

    every_steps: Int = Field(500, ge=1, le=10_000_000, description="Steps from one checkpoint to the next.")
    keep_last: Int = Field(3, ge=1, le=1000, description="How many of the newest are kept; the best is kept besides.")


class ResourcesSpec(SpecModel):
    """What the job needs of a worker."""

    gpus: Int = Field(
        0, ge=0, le=1, description="GPUs it must have: 0 takes whatever the worker has, a GPU when there is one."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="bf16: networks under autocast; losses, penalties and optimizers stay in fp32. auto: bf16 where "
        "the device has it in hardware.",
    )


class TrainSpec(SpecModel):
    """One request to train, every default written out."""

    spec_version: Literal[2] = Field(SPEC_VERSION, description="Version of this form.")
    name: Text | None = Field(None, description="A name for people; need not be unique.")
    labels: dict[LabelKey, LabelValue] = Field(
        {},
        max_length=16,
        description="Key-value pairs to find the job by; at most 16.",
        json_schema_extra={"additionalProperties": False},
    )
    dataset: Text = Field(description="Name or id of a registered data set.")
    preset: Text = Field(DEFAULT_PRESET, description="A named starting point, whose fields the others override.")
    total_steps: Int = Field(2_000, ge=1, le=10_000_000, description="Steps to train; alternation says what one is.")
    batch_size: Int = Field(64, ge=2, le=4096, description="Real images in one update of D; fakes in one of G.")
    seed: Int = Field(0, ge=0, le=2**63 - 1, description="Seed of weights, latents and data order.")
    generator: GeneratorSpec = Field(GeneratorSpec(), description="G: from a latent z and a label to an image.")
    discriminator: DiscriminatorSpec = Field(
        DiscriminatorSpec(), description="D: from an image and a label to one logit."
    )
    conditioning: ConditioningSpec = Field(ConditioningSpec(), description="How class labels enter G and D.")
    loss: LossSpec = Field(LossSpec(), description="What G and D minimise.")
    penalties: tuple[PenaltySpec, ...] = Field((), max_length=3, description="What is added to D's loss.")
    optimizers: OptimizersSpec = Field(OptimizersSpec(), description="How the weights of each network move.")
    alternation: AlternationSpec = Field(AlternationSpec(), description="Updates of D and of G in one step.")
    stabilizers: StabilizersSpec = Field(StabilizersSpec(), description="Techniques that keep it in balance.")
    ema: EmaSpec = Field(EmaSpec(), description="G_ema, the averaged generator that samples are drawn from.")
    evaluation: EvaluationSpec = Field(EvaluationSpec(), description="Quality figures, and the best checkpoint.")
    safeguards: SafeguardsSpec = Field(SafeguardsSpec(), description="What counts as failing, and what is then done.")
    previews: PreviewsSpec = Field(PreviewsSpec(), description="Fixed latents drawn while training.")
    checkpoints: CheckpointsSpec = Field(CheckpointsSpec(), description="What is kept, and how often.")
    resources: ResourcesSpec = Field(ResourcesSpec(), description="Devices and precision.")
    priority: Int = Field(0, ge=-100, le=100, description="Higher is claimed first; equals by age.")
    max_attempts: Int = Field(3, ge=1, le=20, description="Attempts that may crash before the job fails.")
    max_runtime_seconds: Annotated[int, Field(ge=1, le=31_536_000), INTEGRAL] | None = Field(
        None,
        description="Time it may run, all attempts together, s; then it fails. null: any.",
    )

    @property
    def conditional(self) -> bool:
        """Whether G draws a class by its label."""
        return self.conditioning.kind != "none"

    def most_per_class(self, classes: int, height: int, width: int) -> int:
        """Images of each class that a preview has room for, of so many classes and of so many pixels an image."""
        scale = max(1, -(-_READABLE_TILE // max(height, width)))
        tile = (height * scale + _TILE_GAP) * (width * scale + _TILE_GAP)
        rows = classes if self.conditional and classes else _UNLABELLED_ROWS
        return max(1, MOST_PREVIEW_PIXELS // (rows * tile))

    @property
    def images_per_step(self) -> float:
        """Real images shown to D in a step, on average over the alternation."""
        turns = self.alternation
        match turns.unit:
            case "step":
                return float(self.batch_size * turns.d_steps)
            case "odd_even":
                return self.batch_size / 2
            case "epoch":
                return self.batch_size * turns.d_steps / (turns.d_steps + turns.g_steps)

    @property
    def g_sees_reals(self) -> bool:
        """Whether G's phase needs a batch of reals: its loss looks at pairs, or at D's features of both."""
        return self.loss.kind == "relativistic" or self.stabilizers.feature_matching

    @property
    def shares_fakes(self) -> bool:
        """Whether a step's fakes serve both players: each has one update in it, and G's loss looks at no reals."""
        one_each = (self.alternation.unit, self.alternation.d_steps, self.alternation.g_steps) == ("step", 1, 1)
        return one_each and not self.g_sees_reals

    @property
    def scheduled(self) -> bool:
        """Whether anything changes with the share of the run that is done, so that total_steps shapes learning."""
        schedules = [self.optimizers.g.schedule, self.optimizers.d.schedule, *(p.schedule for p in self.penalties)]
        return self.stabilizers.instance_noise > 0 or set(schedules) != {"constant"}
