"""Health rules on an evaluation. Each returns a symptom, or None where its condition does not hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from gan.findings import Code, FindingEvidence, Severity
from gan.health.curves import full_warm_up_steps
from gan.health.growth import Growth
from gan.health.headline import headline, shortfall, steps
from gan.health.quality import EvaluationHistory
from gan.health.reach import LabelReach, above_reals, fakes_measured, sampling_error
from gan.health.rules_probes import (
    classes_below,
    diversity_still_grows,
    listed,
    low_class_diversity,
    of_large_classes,
)
from gan.health.symptom import UNINFORMATIVE_LABELS, Symptom
from gan.quality.evaluate import EvaluationResult
from gan.spec.catalog import DatasetInfo
from gan.spec.fields import TrainSpec
from gan.spec.safeguards import ThresholdsSpec

# A class counts if the classifier recognises it by this F1 score; of two classes with the same images, none does.
_RECOGNISED: Final = 0.7
# The critical findings that explain why a figure is too low.
_EXPLAINED_BY: Final[dict[str, Code]] = {"coverage": "mode_collapse", "label_accuracy": "conditioning_ignored"}


@dataclass(frozen=True)
class EvaluationObservation:
    """The input of the rules on an evaluation."""

    spec: TrainSpec
    info: DatasetInfo
    evaluation: EvaluationResult
    history: EvaluationHistory
    """The evaluations so far, this one included."""
    growth: Growth
    """The measurements so far, those of this evaluation included."""
    collapsed: bool
    """Whether the whole generator has collapsed; then a collapse of single classes adds no information."""
    critical: frozenset[Code] = frozenset()
    """The critical findings of the rules before."""

    @property
    def thresholds(self) -> ThresholdsSpec:
        """The thresholds of the spec."""
        return self.spec.safeguards.thresholds

    @property
    def late(self) -> bool:
        """Whether the run is old enough that G should have learned something."""
        return self.evaluation.step >= self.thresholds.late_share * self.spec.total_steps

    @property
    def seen_enough(self) -> bool:
        """Whether D has seen the images of a full warm-up, also if that of this run was cut short."""
        return self.evaluation.step >= full_warm_up_steps(self.spec)

    @property
    def final(self) -> bool:
        """Whether this is the evaluation at the end of the run."""
        return self.evaluation.step >= self.spec.total_steps

    @property
    def labels(self) -> LabelReach | None:
        """How well the labels of real images can be told; None without classes."""
        return LabelReach.of(self.thresholds, self.evaluation, self.info)

    @property
    def shows_classes(self) -> bool:
        """Whether the classifier's output on the images means anything.

        The classifier must be better than guessing, and the images close enough to real ones.
        """
        labels = self.labels
        return self.history.recognisable and (labels is None or labels.known)

    def reals(self, share: float, name: str) -> float:
        """Return `share` of what real images reach in a metric."""
        return above_reals(share, self.evaluation, name)


def mode_collapse(observation: EvaluationObservation) -> Symptom | None:
    """Return a symptom if the images look real but lack variety.

    It is critical where all images of a class are almost the same, and a warning where the images do not cover large
    parts of the data set.
    """
    return _low_diversity(observation) or _low_coverage(observation)


def _low_diversity(observation: EvaluationObservation) -> Symptom | None:
    limits, evaluation = observation.thresholds, observation.evaluation
    limit, diversity = limits.collapse_diversity, evaluation.metrics.get("diversity")
    name = diversity_name(evaluation)
    if diversity is None or diversity >= limit or diversity_still_grows(limits, observation.growth, name, diversity):
        return None
    message = f"G has collapsed: its images differ from each other {diversity:.0%} as much as real ones do."
    evidence = FindingEvidence("diversity", diversity, limit)
    return Symptom("mode_collapse", "critical", evaluation.step, message, (evidence,))


def _low_coverage(observation: EvaluationObservation) -> Symptom | None:
    limits, metrics = observation.thresholds, observation.evaluation.metrics
    # Low coverage with low precision means poor images, which `past_best` and `never_learned` report.
    min_precision = observation.reals(limits.collapse_precision, "precision")
    if "precision" not in metrics or metrics["precision"] <= min_precision:
        return None
    evidence = []
    coverage_limit = observation.reals(limits.collapse_coverage, "coverage")
    if observation.history.had_covered and metrics["coverage"] < coverage_limit:
        evidence.append(FindingEvidence("coverage", metrics["coverage"], coverage_limit))
    # Recall is low early in training, too, but then quality still improves.
    stagnant = observation.late and observation.history.stagnant >= limits.evaluations
    recall_limit = observation.reals(limits.collapse_recall, "recall")
    if stagnant and metrics["recall"] < recall_limit:
        evidence.append(FindingEvidence("recall", metrics["recall"], recall_limit))
    if not evidence:
        return None
    evidence.append(FindingEvidence("precision", metrics["precision"], min_precision))
    message = (
        f"G has lost part of the data set: its images look real (precision {metrics['precision']:.2f}), but they "
        f"reach few of the real ones (coverage {metrics['coverage']:.2f}, recall {metrics['recall']:.2f})."
    )
    return Symptom("mode_collapse", "warning", observation.evaluation.step, message, tuple(evidence))


def growing_metrics(evaluation: EvaluationResult) -> Iterator[tuple[str, float]]:
    """Yield (name, value) of each metric of an evaluation that grows early in training."""
    if "diversity" in evaluation.metrics:
        yield diversity_name(evaluation), evaluation.metrics["diversity"]
    if "label_accuracy" in evaluation.metrics:
        yield "label_accuracy", evaluation.metrics["label_accuracy"]
    yield from ((f"within/{label}", ratio) for label, ratio in evaluation.within_class_diversity.items())
    yield from ((f"share/{label}", share) for label, share in class_shares(evaluation).items())


def diversity_name(evaluation: EvaluationResult) -> str:
    """Return the name of an evaluation's diversity in `Growth`.

    The diversity of a conditional generator is the quantity that a probe measures, too. That of an unconditional
    generator is measured within the classes that the classifier assigns, so it has a name of its own.
    """
    return "diversity" if "label_accuracy" in evaluation.metrics else "within/"


def class_collapse(observation: EvaluationObservation) -> Symptom | None:
    """Return a symptom if some classes are hardly drawn any more, or have lost their diversity."""
    if observation.collapsed or not observation.shows_classes:
        return None
    evaluation, limits = observation.evaluation, observation.thresholds
    ratios = of_large_classes(evaluation.within_class_diversity, limits, observation.info)
    return _rare_classes(observation) or low_class_diversity(
        limits, evaluation.step, ratios, observation.growth, "within"
    )


def _rare_classes(observation: EvaluationObservation) -> Symptom | None:
    limits, evaluation = observation.thresholds, observation.evaluation
    min_share = limits.class_images / observation.spec.evaluation.images
    expected = {label for label, share in evaluation.real_class_histogram.items() if share >= min_share}
    expected &= {c.label for c in observation.info.classes if evaluation.recognised.get(c.label, 1.0) >= _RECOGNISED}
    shares = of_large_classes(class_shares(evaluation), limits, observation.info)
    shares = {label: share for label, share in shares.items() if label in expected}
    rare = classes_below(shares, limits.class_share, observation.growth, "share")
    if not rare:
        return None
    message = (
        f"G hardly draws {listed([label for _, label in rare])}: under {limits.class_share:.0%} of the share that "
        "real images of it have."
    )
    evidence = tuple(FindingEvidence(f"class_share/{label}", share, limits.class_share) for share, label in rare)
    return Symptom("class_collapse", "warning", evaluation.step, message, evidence)


def class_shares(evaluation: EvaluationResult) -> dict[str, float]:
    """Return class label -> share of the fakes in this class over its share of the reals."""
    return {
        label: evaluation.class_histogram.get(label, 0.0) / share
        for label, share in evaluation.real_class_histogram.items()
        if share > 0.0
    }


def uninformative_labels(observation: EvaluationObservation) -> Symptom | None:
    """Return a symptom if a classifier cannot learn the classes of the real images from their labels."""
    labels = observation.labels
    if labels is None or not observation.spec.conditional or not labels.guesses:
        return None
    message = (
        f"The labels say nothing about the images: a classifier trained on them is right about {labels.own:.0%} of "
        f"real images that it has not seen, and guessing would be right about {labels.chance:.0%}. Mend the labels "
        "of the data set, or train without them."
    )
    evidence = FindingEvidence("reference/label_accuracy", labels.own, labels.least)
    step = observation.evaluation.step
    return Symptom("conditioning_ignored", "critical", step, message, (evidence,), UNINFORMATIVE_LABELS)


def conditioning_ignored(observation: EvaluationObservation) -> Symptom | None:
    """Return a symptom if many images are not of the class that was asked for.

    It is critical late in the run, once D has seen the images of a full warm-up, and a warning before.
    """
    labels, evaluation = observation.labels, observation.evaluation
    found = evaluation.metrics.get("label_accuracy")
    if labels is None or found is None or not observation.shows_classes:
        return None
    limit = labels.at(observation.thresholds.conditioning_accuracy)
    error = sampling_error(found, fakes_measured(evaluation.provenance))
    if found + error >= limit or observation.growth.still_growing("label_accuracy", labels.growth):
        return None
    message = (
        f"{found:.0%} of the images are of the class that was asked for; guessing reaches {labels.chance:.0%}, and "
        f"of real images the same classifier recognises {labels.own:.0%}. G draws good images and ignores the label."
    )
    severity: Severity = "critical" if observation.late and observation.seen_enough else "warning"
    evidence = FindingEvidence("label_accuracy", found, limit)
    return Symptom("conditioning_ignored", severity, observation.evaluation.step, message, (evidence,))


def equilibrium(observation: EvaluationObservation) -> Symptom | None:
    """Return an info if D is no better than a coin and quality does not improve: G learns from noise.

    A G that has not learned anything yet is the subject of other rules.
    """
    history, evaluations = observation.history, observation.thresholds.evaluations
    if history.best is None or not history.learned or min(history.balanced, history.settled) < evaluations:
        return None
    message = (
        f"D has been no better than a coin for {history.balanced} evaluations, and quality has not improved for "
        f"{history.settled}: what G learns from D now is noise. The best was at step {history.best.step}, and more "
        "steps add nothing."
    )
    evidence = (
        FindingEvidence("evaluations_in_balance", float(history.balanced), float(evaluations)),
        FindingEvidence("evaluations_without_improvement", float(history.settled), float(evaluations)),
    )
    return Symptom("equilibrium", "info", history.balanced_since, message, evidence)


def past_best(observation: EvaluationObservation) -> Symptom | None:
    """Return a symptom if the FCD is well above its best, and several evaluations have brought no new best.

    At the end of the run it is also a symptom if the images were recognisable and are not any more.
    """
    return _high_fcd(observation) or _fallen_at_the_end(observation)


def _fallen_at_the_end(observation: EvaluationObservation) -> Symptom | None:
    history = observation.history
    if history.best is None or not (observation.final and history.learned and history.missing):
        return None
    message = (
        f"The images were recognisable and are not any more: {shortfall(history.missing)}. The best was at step "
        f"{history.best.step}, and its checkpoint is kept."
    )
    return Symptom("past_best", "warning", history.best.step, message, history.missing)


def _high_fcd(observation: EvaluationObservation) -> Symptom | None:
    limits, history = observation.thresholds, observation.history
    fcd = observation.evaluation.metrics["fcd"]
    if history.best is None or history.since_best < limits.evaluations:
        return None
    # Below a few times the FCD of held-out reals, differences are noise: a ratio of two such values means nothing.
    nearest = max(history.best.fcd, limits.past_best_reals * observation.evaluation.reference.get("fcd", 0.0))
    if fcd < limits.past_best_warning * nearest:
        return None
    critical = fcd >= limits.past_best_critical * nearest
    factor = limits.past_best_critical if critical else limits.past_best_warning
    message = (
        f"The best was at step {history.best.step}, an FCD of {history.best.fcd:.3g}; now it is {fcd:.3g}, and "
        f"{history.since_best} evaluations have not bettered it. The best checkpoint is kept."
    )
    evidence = (
        FindingEvidence("fcd", fcd, factor * nearest),
        FindingEvidence("evaluations_since_best", float(history.since_best), float(limits.evaluations)),
    )
    return Symptom("past_best", "critical" if critical else "warning", history.best.step, message, evidence)


def never_learned(observation: EvaluationObservation) -> Symptom | None:
    """Return a symptom if no image was ever recognisable.

    Before the end of the run it must also be late, the FCD must be close to that of the untrained G, and quality must
    have stopped improving.
    """
    history = observation.history
    if history.learned or history.best is None:
        return None
    return _nothing_at_the_end(observation) or _nothing_late(observation)


def _nothing_at_the_end(observation: EvaluationObservation) -> Symptom | None:
    history = observation.history
    unexplained = [e for e in history.missing if _EXPLAINED_BY.get(e.metric) not in observation.critical]
    if not observation.final or not unexplained:
        return None
    after = steps(observation.evaluation.step)
    message = f"{headline(history.missing)} at the end of {after}: {shortfall(history.missing)}."
    return Symptom("never_learned", "critical", 1, message, history.missing)


def _nothing_late(observation: EvaluationObservation) -> Symptom | None:
    history = observation.history
    still_improves = history.stagnant < observation.thresholds.evaluations
    if not observation.late or still_improves or history.best is None or history.untrained is None:
        return None
    limit = observation.thresholds.never_learned_distance * history.untrained
    if history.best.fcd <= limit:
        return None
    message = (
        f"The best FCD so far is {history.best.fcd:.3g}; before training it was {history.untrained:.3g}. "
        f"It has not improved for {history.stagnant} evaluations. G has learned next to nothing."
    )
    evidence = (FindingEvidence("best_fcd", history.best.fcd, limit), *history.missing)
    return Symptom("never_learned", "critical", 1, message, evidence)


RULES: Final[dict[str, Callable[[EvaluationObservation], Symptom | None]]] = {
    "mode_collapse/evaluation": mode_collapse,
    "class_collapse/evaluation": class_collapse,
    "conditioning_ignored/labels": uninformative_labels,
    "conditioning_ignored/evaluation": conditioning_ignored,
    "equilibrium": equilibrium,
    "past_best": past_best,
    "never_learned": never_learned,
}
"""All rules on an evaluation, by the name of their hysteresis in a checkpoint."""
