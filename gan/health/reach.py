"""Figures with an upper bound, compared with chance and with what real images reach.

A label accuracy of 0.6 is good with ten classes, and worse than guessing if one class holds two thirds of the images.
So no threshold is a multiple of such a figure: it is a share of the way from chance to what real images reach.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gan.findings import FindingEvidence
from gan.quality.evaluate import EvaluationResult
from gan.spec.catalog import DatasetInfo
from gan.spec.safeguards import ThresholdsSpec

# A difference below so many standard errors may be an accident of which images were measured.
_STANDARD_ERRORS: Final = 2.0
# A sampling error of at most this share of the way from guessing to 1 shows whether a classifier guesses.
_TELLING_ERROR: Final = 0.25
# From one evaluation to the next, label accuracy grows if it gains this share of the way from chance to the reals'.
_GROWTH_SHARE: Final = 0.05


def way(share: float, chance: float, real: float) -> float:
    """Return the value at `share` of the way from `chance` to `real`."""
    return chance + share * (real - chance)


def above_reals(share: float, evaluation: EvaluationResult, name: str) -> float:
    """Return `share` of what held-out reals reach in a metric whose chance is 0; if unknown, they reach 1."""
    return way(share, 0.0, evaluation.reference.get(name, 1.0))


def sampling_error(share: float, count: float) -> float:
    """Return two standard errors of a share that was measured on `count` images; 0 if the number is not known."""
    return _STANDARD_ERRORS * math.sqrt(max(0.0, share * (1.0 - share)) / count) if count else 0.0


@dataclass(frozen=True)
class LabelReach:
    """How well labels can be told from images: the label accuracy of guessing, and that of the classifier."""

    chance: float
    """The accuracy of always guessing the most frequent class."""
    own: float
    """The classifier's accuracy on reals that it was not trained on."""
    error: float
    """The sampling error of `own`."""
    least: float
    """The accuracy of a classifier that has learned something from the labels: `conditioning_labels`."""

    @classmethod
    def of(cls, limits: ThresholdsSpec, evaluation: EvaluationResult, info: DatasetInfo) -> LabelReach | None:
        """Return it for an evaluation; None without classes."""
        own = evaluation.reference.get("label_accuracy")
        if own is None:
            return None
        counts = [c.count for c in info.classes]
        chance = max(counts, default=1) / max(1, sum(counts))
        least = way(limits.conditioning_labels, chance, 1.0)
        return cls(chance, own, sampling_error(own, _measured_on(evaluation.provenance)), least)

    @property
    def known(self) -> bool:
        """Whether the classifier is better than guessing beyond doubt; if not, its opinion of fakes means nothing."""
        return self.own - self.error > self.least

    @property
    def guesses(self) -> bool:
        """Whether the classifier only guesses, although it was measured on enough images to show that it does not.

        On few images, or if one class holds almost all of them, it may be neither `known` nor this.
        """
        telling = self.error <= _TELLING_ERROR * (1.0 - self.chance)
        return telling and self.own < self.least + self.error / _STANDARD_ERRORS

    def at(self, share: float) -> float:
        """Return the label accuracy at `share` of the way from guessing to the classifier's own."""
        return way(share, self.chance, self.own)

    @property
    def growth(self) -> float:
        """The increase of label accuracy between two evaluations that counts as growth."""
        return _GROWTH_SHARE * max(0.0, self.own - self.chance)


def missing_evidence(
    limits: ThresholdsSpec, evaluation: EvaluationResult, info: DatasetInfo, untrained_fcd: float | None
) -> tuple[FindingEvidence, ...]:
    """Return the figures that are too low for images that a person recognises, each with what it needs; () if none.

    The images must look real (precision), show more than a corner of the data set (coverage), and, with classes, be
    of the class that was asked for (label accuracy). If most reals are equal, so that precision and coverage cannot
    be computed, the FCD decides: it must be well below that of the untrained G.
    """
    metrics, needed = evaluation.metrics, {}
    if "precision" in metrics:
        needed["precision"] = above_reals(limits.healthy_precision, evaluation, "precision")
        needed["coverage"] = above_reals(limits.healthy_coverage, evaluation, "coverage")
    labels = LabelReach.of(limits, evaluation, info)
    if "label_accuracy" in metrics and labels is not None and labels.known:
        needed["label_accuracy"] = labels.at(limits.healthy_accuracy)
    low = [FindingEvidence(name, metrics[name], limit) for name, limit in needed.items() if metrics[name] < limit]
    if "precision" not in metrics and untrained_fcd is not None:
        limit = limits.never_learned_distance * untrained_fcd
        low += [FindingEvidence("fcd", metrics["fcd"], limit)] if metrics["fcd"] > limit else []
    return tuple(low)


def fakes_measured(provenance: Mapping[str, Any]) -> float:
    """Return the number of fakes of an evaluation; 0 if it is not known."""
    return float(provenance.get("images", {}).get("fakes", 0))


def _measured_on(provenance: Mapping[str, Any]) -> float:
    return float(provenance.get("feature_net", {}).get("measured_on", 0))
