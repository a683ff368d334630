"""The safeguards of a spec: the thresholds of `gan.health`, and what is done about a failing run.

This module imports pydantic only.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gan.spec.base import Int, SpecModel


class ThresholdsSpec(SpecModel):
    """The thresholds of the health rules; see docs/health.md. A share of the run is a share of total_steps."""

    warm_up_share: float = Field(
        0.05, ge=0, le=1, description="Warm-up as a share of the run; until it ends, only non_finite is found."
    )
    warm_up_images: Int = Field(
        20_000, ge=0, le=100_000_000, description="The warm-up also lasts until D has seen this many real images."
    )
    warm_up_most: float = Field(
        0.25, ge=0, le=1, description="Longest warm-up as a share of the run, for runs on few images."
    )
    window_steps: Int = Field(
        4_000, ge=10, le=1_000_000, description="Steps over which medians and means of the losses are taken."
    )
    window_share: float = Field(
        0.2, gt=0, le=1, description="Longest window as a share of the run, for runs of few steps."
    )
    late_share: float = Field(
        0.3, ge=0, le=1, description="Share of the run after which never_learned and a low recall are found."
    )
    evaluations: Int = Field(
        5,
        ge=1,
        le=1_000,
        description="Number of evaluations in a row: without a new best for past_best; with a D that is no better "
        "than a coin for equilibrium; without improvement for equilibrium, never_learned and mode_collapse by "
        "recall.",
    )
    improvement: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share by which the FCD must fall below its value at the last improvement to count as another.",
    )
    quiet_looks: Int = Field(
        3, ge=1, le=1_000, description="Number of checks in a row without evidence after which a finding ends."
    )

    healthy_precision: float = Field(
        0.3, ge=0, le=1, description="Verdict healthy: precision, as a share of that of held-out reals."
    )
    healthy_coverage: float = Field(
        0.05, ge=0, le=1, description="Verdict healthy: coverage, as a share of that of held-out reals."
    )
    healthy_accuracy: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Verdict healthy: label accuracy, as a share of the way from guessing the most frequent class to "
        "the classifier's own accuracy on reals.",
    )

    non_finite_updates: Int = Field(
        3, ge=1, le=1_000, description="non_finite: number of steps with NaN or infinity that cause a roll back."
    )
    non_finite_steps: Int = Field(
        100, ge=1, le=100_000, description="non_finite: number of last steps among which they are counted."
    )
    roll_backs: Int = Field(
        3, ge=1, le=100, description="The roll back of this number is not made: the run fails as diverged instead."
    )

    vanishing_d_loss: float = Field(
        0.1,
        ge=0,
        le=1,
        description="vanishing_gradients: median of D's loss below which D dominates. Label smoothing keeps the loss "
        "above it. It does not apply to wasserstein, whose loss has no lower bound.",
    )
    vanishing_d_loss_least_squares: float = Field(
        0.02, ge=0, le=1, description="vanishing_gradients: the same for least_squares, where 0.25 is chance."
    )
    vanishing_d_accuracy: float = Field(
        0.98,
        ge=0.5,
        le=1,
        description="vanishing_gradients: mean accuracy of D above which G's gradient norm is checked.",
    )
    vanishing_gradient: float = Field(
        0.01, ge=0, le=1, description="vanishing_gradients: G's gradient norm as a share of its maximum so far."
    )

    dominates_d_accuracy: float = Field(
        0.52, ge=0, le=1, description="generator_dominates: mean accuracy of D below which it is at chance."
    )
    dominates_opinion: float = Field(
        0.9,
        gt=0.5,
        lt=1,
        description="generator_dominates: D's opinion of the fakes, from 0 (fake) to 1 (real), above which G's loss "
        "is near its minimum.",
    )
    dominates_steps: Int = Field(
        2_000, ge=10, le=1_000_000, description="generator_dominates: number of steps for which both must hold."
    )

    collapse_diversity: float = Field(
        0.2,
        ge=0,
        le=1,
        description="mode_collapse, total: mean pixel distance between images of a class, as a share of that between "
        "reals.",
    )
    collapse_duplicates: float = Field(
        0.5,
        ge=0,
        le=1,
        description="mode_collapse, total: share of the images of a grid that have a near duplicate in the grid.",
    )
    duplicate_distance: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Two images are near duplicates if they are closer than this share of the median distance of a "
        "real image to its nearest neighbour in a grid of reals.",
    )
    collapse_coverage: float = Field(
        0.5, ge=0, le=1, description="mode_collapse, partial: coverage as a share of that of held-out reals."
    )
    collapse_recall: float = Field(
        0.05,
        ge=0,
        le=1,
        description="mode_collapse, partial: recall late in the run, as a share of that of held-out reals.",
    )
    collapse_precision: float = Field(
        0.7,
        ge=0,
        le=1,
        description="mode_collapse, partial: precision above which the images are good but lack variety, as a share "
        "of that of held-out reals.",
    )

    class_diversity: float = Field(
        0.3, ge=0, le=1, description="class_collapse: the same ratio as collapse_diversity, for one class."
    )
    class_share: float = Field(
        0.2,
        ge=0,
        le=1,
        description="class_collapse: share of the fakes that the classifier assigns to a class, over that of reals.",
    )
    class_images: Int = Field(
        20,
        ge=1,
        le=10_000,
        description="class_collapse: number of images of a class that an evaluation must expect, and that the data "
        "set must have, to check the class.",
    )

    conditioning_margin: float = Field(
        0.0,
        ge=-100,
        le=100,
        description="conditioning_ignored: mean logit of held-out reals with their own labels minus that with wrong "
        "ones.",
    )
    conditioning_swing: float = Field(
        0.1,
        ge=0,
        le=100,
        description="conditioning_ignored: mean absolute difference of these logits, over the standard deviation of "
        "D's logits, below which D ignores the label.",
    )
    conditioning_accuracy: float = Field(
        0.5,
        ge=0,
        le=1,
        description="conditioning_ignored: label accuracy, as a share of the way from guessing the most frequent "
        "class to the classifier's own accuracy on reals.",
    )
    conditioning_labels: float = Field(
        0.06,
        ge=0,
        le=1,
        description="conditioning_ignored: the classifier's own accuracy, as a share of the way from guessing the "
        "most frequent class to 1, below which the labels say nothing about the images.",
    )
    recognisable_precision: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Precision below which the images are too poor to check classes, as a share of that of held-out "
        "reals.",
    )

    equilibrium_accuracy: float = Field(
        0.05, ge=0, le=0.5, description="equilibrium: largest distance of D's mean accuracy from one half."
    )
    equilibrium_quality: float = Field(
        0.05,
        ge=0,
        le=10,
        description="equilibrium: share by which the FCD must fall within these evaluations to count as an "
        "improvement.",
    )

    past_best_warning: float = Field(
        1.25, ge=1, le=1_000, description="past_best: multiple of the best FCD from which on it is a warning."
    )
    past_best_critical: float = Field(
        1.5, ge=1, le=1_000, description="past_best: multiple of the best FCD from which on it is critical."
    )
    past_best_reals: float = Field(
        5.0,
        ge=0,
        le=1_000,
        description="past_best: multiple of the FCD of held-out reals; a best FCD below it counts as this value.",
    )

    never_learned_distance: float = Field(
        0.3,
        ge=0,
        le=1,
        description="never_learned, before the end of the run: the best FCD as a share of that of the untrained G.",
    )

    divergence_gradient: float = Field(
        100.0, gt=0, le=1e9, description="divergence: gradient norm of G or D that is too large."
    )
    divergence_steps: Int = Field(
        100, ge=1, le=100_000, description="divergence: number of steps in a row for which it is too large."
    )
    divergence_loss: float = Field(
        10.0,
        ge=1,
        le=1e6,
        description="divergence: median of D's loss over these steps, as a multiple of its median before.",
    )

    overfitting_gap: float = Field(
        0.3,
        ge=0,
        le=10,
        description="discriminator_overfitting: mean opinion of D on training images minus that on held-out ones. "
        "Cross entropy: of D(x) in 0..1. Other losses: of logits, over their standard deviation or their distance to "
        "those of the fakes.",
    )
    overfitting_probes: Int = Field(
        4, ge=1, le=1_000, description="discriminator_overfitting: number of probes over which the mean is taken."
    )


class SafeguardsSpec(SpecModel):
    """When the health of a run is checked, and what is done if it fails."""

    policy: Literal["warn", "stop_and_keep_best", "roll_back"] = Field(
        "warn",
        description="What happens on a critical finding. warn: it is only reported. stop_and_keep_best: the job ends "
        "and succeeds with its best checkpoint, also on equilibrium. roll_back: the last good weights are restored, "
        "and both learning rates are halved.",
    )
    every_steps: Int = Field(100, ge=1, le=100_000, description="Steps between two checks of the losses.")
    probe_every_steps: Int = Field(
        500, ge=1, le=1_000_000, description="Steps between two probes, which check a fixed grid of images."
    )
    thresholds: ThresholdsSpec = Field(ThresholdsSpec(), description="The thresholds of the findings.")
