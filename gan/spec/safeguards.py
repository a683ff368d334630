"""What counts as a failing run, and what is then done: the thresholds of `gan.health`, as fields of the spec.

Pydantic only.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gan.spec.base import Int, SpecModel


class ThresholdsSpec(SpecModel):
    """Where each finding begins: see docs/health.md. A share of the run is a share of total_steps."""

    warm_up_share: float = Field(
        0.05, ge=0, le=1, description="Share of the run over which nothing but non_finite is found."
    )
    warm_up_images: Int = Field(
        20_000, ge=0, le=100_000_000, description="Real images shown to D before anything else is found."
    )
    warm_up_most: float = Field(
        0.25, ge=0, le=1, description="Share of the run that warm-up never takes more of: for runs of few images."
    )
    window_steps: Int = Field(
        4_000, ge=10, le=1_000_000, description="Steps over which a median or a mean of the losses is taken."
    )
    window_share: float = Field(
        0.2, gt=0, le=1, description="Share of the run that no window is longer than: for runs of few steps."
    )
    late_share: float = Field(
        0.3, ge=0, le=1, description="Share of the run after which never_learned, and a low recall, are found."
    )
    evaluations: Int = Field(
        5,
        ge=1,
        le=1_000,
        description="Evaluations in a row: past_best, without a new best; equilibrium, in balance; mode_collapse by "
        "recall, without improvement.",
    )
    improvement: float = Field(
        0.1, ge=0, le=1, description="Share by which an evaluation beats all before it while a run still improves."
    )
    quiet_looks: Int = Field(
        3, ge=1, le=1_000, description="Looks in a row without its evidence after which a finding is over."
    )

    non_finite_updates: Int = Field(
        3, ge=1, le=1_000, description="non_finite: steps with a NaN or an infinity that make a roll back necessary."
    )
    non_finite_steps: Int = Field(
        100, ge=1, le=100_000, description="non_finite: steps within which they are counted."
    )
    roll_backs: Int = Field(
        3, ge=1, le=100, description="The roll back that is not made any more: the run has failed as diverged."
    )

    vanishing_d_loss: float = Field(
        0.1,
        ge=0,
        le=1,
        description="vanishing_gradients: median of D's loss below which D dominates. Smoothed labels keep it above; "
        "not for wasserstein, whose loss has no floor.",
    )
    vanishing_d_loss_least_squares: float = Field(
        0.02, ge=0, le=1, description="vanishing_gradients: the same for least_squares, where 0.25 is chance."
    )
    vanishing_d_accuracy: float = Field(
        0.98,
        ge=0.5,
        le=1,
        description="vanishing_gradients: mean accuracy of D above which G's gradient is looked at.",
    )
    vanishing_gradient: float = Field(
        0.01, ge=0, le=1, description="vanishing_gradients: G's gradient norm as a share of its running maximum."
    )

    dominates_d_accuracy: float = Field(
        0.52, ge=0, le=1, description="generator_dominates: mean accuracy of D below which it sees nothing."
    )
    dominates_opinion: float = Field(
        0.9,
        gt=0.5,
        lt=1,
        description="generator_dominates: D's opinion of the fakes, 0 fake to 1 real, above which G's loss is near "
        "its floor.",
    )
    dominates_steps: Int = Field(
        2_000, ge=10, le=1_000_000, description="generator_dominates: steps over which both must hold."
    )

    collapse_diversity: float = Field(
        0.2,
        ge=0,
        le=1,
        description="mode_collapse, total: mean pixel distance between images of a class, as a share of the reals'.",
    )
    collapse_duplicates: float = Field(
        0.5,
        ge=0,
        le=1,
        description="mode_collapse, total: share of a grid of images that have a near duplicate in it.",
    )
    duplicate_distance: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Two images are near duplicates when closer than this share of a real image's distance to its "
        "nearest other in a grid of reals (the median).",
    )
    collapse_coverage: float = Field(
        0.5, ge=0, le=1, description="mode_collapse, partial: coverage as a share of what held-out reals reach."
    )
    collapse_recall: float = Field(0.05, ge=0, le=1, description="mode_collapse, partial: recall late in the run.")
    collapse_precision: float = Field(
        0.7, ge=0, le=1, description="mode_collapse, partial: precision above which the images are few, not bad."
    )

    class_diversity: float = Field(
        0.3, ge=0, le=1, description="class_collapse: the same ratio as collapse_diversity, of one class."
    )
    class_share: float = Field(
        0.2, ge=0, le=1, description="class_collapse: share of the fakes that look like a class, over its real share."
    )
    class_images: Int = Field(
        20, ge=1, le=10_000, description="class_collapse: images of a class to be expected before its share counts."
    )

    conditioning_margin: float = Field(
        0.0,
        ge=-100,
        le=100,
        description="conditioning_ignored: mean logit of held-out reals with their labels less that with wrong ones.",
    )
    conditioning_swing: float = Field(
        0.1,
        ge=0,
        le=100,
        description="conditioning_ignored: mean size of that difference, over the spread of D's logits, below which "
        "D is deaf to the label.",
    )
    conditioning_accuracy: float = Field(
        0.5,
        ge=0,
        le=1,
        description="conditioning_ignored: label accuracy as a share of the classifier's own on reals.",
    )
    conditioning_chance: float = Field(
        1.5,
        ge=1,
        le=100,
        description="conditioning_ignored: the classifier's own accuracy, in times of guessing the commonest class, "
        "below which the labels themselves say nothing.",
    )
    recognisable_precision: float = Field(
        0.5, ge=0, le=1, description="Precision below which no class is looked for in the images: they are too poor."
    )

    equilibrium_accuracy: float = Field(
        0.05, ge=0, le=0.5, description="equilibrium: distance of D's mean accuracy from one half."
    )
    equilibrium_quality: float = Field(
        0.05, ge=0, le=10, description="equilibrium: how far above the best FCD, as a share of it."
    )

    past_best_warning: float = Field(1.25, ge=1, le=1_000, description="past_best: times the best FCD; a warning.")
    past_best_critical: float = Field(1.5, ge=1, le=1_000, description="past_best: times the best FCD; critical.")
    past_best_reals: float = Field(
        5.0,
        ge=0,
        le=1_000,
        description="past_best: times the FCD of held-out reals; no best counts as nearer than that.",
    )

    never_learned_distance: float = Field(
        0.3, ge=0, le=1, description="never_learned: the best FCD as a share of the untrained G's."
    )

    divergence_gradient: float = Field(
        100.0, gt=0, le=1e9, description="divergence: gradient norm of G or of D that is too large."
    )
    divergence_steps: Int = Field(
        100, ge=1, le=100_000, description="divergence: steps in a row for which it is too large."
    )
    divergence_loss: float = Field(
        10.0, ge=1, le=1e6, description="divergence: median of D's loss over those steps, over its running median."
    )

    overfitting_gap: float = Field(
        0.3,
        ge=0,
        le=10,
        description="discriminator_overfitting: mean opinion of D on training images less that on held-out ones. "
        "Cross entropy: of D(x) in 0..1; other losses: of logits, over their spread or their distance to the fakes'.",
    )
    overfitting_probes: Int = Field(
        4, ge=1, le=1_000, description="discriminator_overfitting: probes over which the mean is taken."
    )


class SafeguardsSpec(SpecModel):
    """What is done about a run that fails, and when it is looked at."""

    policy: Literal["warn", "stop_and_keep_best", "roll_back"] = Field(
        "warn",
        description="On a critical finding. warn: say so. stop_and_keep_best: end the job, which succeeds with its "
        "best checkpoint. roll_back: put the last good weights back and halve both learning rates.",
    )
    every_steps: Int = Field(100, ge=1, le=100_000, description="Steps between two looks at the losses.")
    probe_every_steps: Int = Field(
        500, ge=1, le=1_000_000, description="Steps between two looks at a fixed grid of images."
    )
    thresholds: ThresholdsSpec = Field(ThresholdsSpec(), description="Where each finding begins.")
