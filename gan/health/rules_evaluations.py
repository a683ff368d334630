"""Health rules on an evaluation. Each returns a symptom, or None where its condition does not hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from gan.findings import FindingEvidence, Severity
from gan.health.growth import Growth
from gan.health.quality import EvaluationHistory
from gan.health.rules_probes import classes_below, diversity_still_grows, listed, low_class_diversity
from gan.health.symptom import UNINFORMATIVE_LABELS, Symptom
from gan.quality.evaluate import EvaluationResult
from gan.spec.catalog import DatasetInfo
from gan.spec.fields import TrainSpec
from gan.spec.safeguards import ThresholdsSpec


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

    @property
    def thresholds(self) -> ThresholdsSpec:
        """The thresholds of the spec."""
        return self.spec.safeguards.thresholds

    @property
    def late(self) -> bool:
        """Whether the run is old enough that G should have learned something."""
        return self.evaluation.step >= self.thresholds.late_share * self.spec.total_steps

    @property
    def recognisable(self) -> bool:
        """Whether the images are close enough to real ones for the classifier's output on them to count."""
        return self.evaluation.metrics["precision"] >= self.thresholds.recognisable_precision

    @property
    def guessing_accuracy(self) -> float:
        """The accuracy of always guessing the most frequent class, times `conditioning_chance`, at most 1."""
        counts = [c.count for c in self.info.classes]
        most_frequent = max(counts, default=1) / max(1, sum(counts))
        return min(1.0, self.thresholds.conditioning_chance * most_frequent)

    @property
    def classifier_guesses(self) -> bool:
        """Whether the classifier is no better than guessing on real images, so that its output means nothing."""
        return self.evaluation.reference.get("label_accuracy", 1.0) < self.guessing_accuracy


def mode_collapse(observation: EvaluationObservation) -> Symptom | None:
    """Return a symptom if the images look real but lack variety.

    It is critical where all images of a class are almost the same, and a warning where the images do not cover large
    parts of the data set.
    """
    return _low_diversity(observation) or _low_coverage(observation)


def _low_diversity(observation: EvaluationObservation) -> Symptom | None:
    limits, evaluation = observation.thresholds, observation.evaluation
    limit, diversity = limits.collapse_diversity, evaluation.metrics["diversity"]
    name = diversity_name(evaluation)
    if diversity >= limit or diversity_still_grows(limits, observation.growth, name, diversity):
        return None
    message = f"G has collapsed: its images differ from each other {diversity:.0%} as much as real ones do."
    evidence = FindingEvidence("diversity", diversity, limit)
    return Symptom("mode_collapse", "critical", evaluation.step, message, (evidence,))


def _low_coverage(observation: EvaluationObservation) -> Symptom | None:
    limits, metrics = observation.thresholds, observation.evaluation.metrics
    # Low coverage with low precision means poor images, which `past_best` and `never_learned` report.
    if metrics["precision"] <= limits.collapse_precision:
        return None
    evidence = []
    coverage_limit = min_coverage(observation.spec, observation.evaluation)
    if observation.history.had_covered and metrics["coverage"] < coverage_limit:
        evidence.append(FindingEvidence("coverage", metrics["coverage"], coverage_limit))
    # Recall is low early in training, too, but then quality still improves.
    stagnant = observation.late and observation.history.stagnant >= limits.evaluations
    if stagnant and metrics["recall"] < limits.collapse_recall:
        evidence.append(FindingEvidence("recall", metrics["recall"], limits.collapse_recall))
    if not evidence:
        return None
    evidence.append(FindingEvidence("precision", metrics["precision"], limits.collapse_precision))
    message = (
        f"G has lost part of the data set: its images look real (precision {metrics['precision']:.2f}), but they "
        f"reach few of the real ones (coverage {metrics['coverage']:.2f}, recall {metrics['recall']:.2f})."
    )
    return Symptom("mode_collapse", "warning", observation.evaluation.step, message, tuple(evidence))


def growing_metrics(evaluation: EvaluationResult) -> Iterator[tuple[str, float]]:
    """Yield (name, value) of each metric of an evaluation that grows early in training."""
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


def min_coverage(spec: TrainSpec, evaluation: EvaluationResult) -> float:
    """Return the coverage that a run must not fall below once it has reached it."""
    return spec.safeguards.thresholds.collapse_coverage * evaluation.reference.get("coverage", 1.0)


def class_collapse(observation: EvaluationObservation) -> Symptom | None:
    """Return a symptom if some classes are hardly drawn any more, or have lost their diversity."""
    if observation.collapsed or observation.classifier_guesses or not observation.recognisable:
        return None
    evaluation, limits = observation.evaluation, observation.thresholds
    return _rare_classes(observation) or low_class_diversity(
        limits, evaluation.step, evaluation.within_class_diversity, observation.growth, "within"
    )


def _rare_classes(observation: EvaluationObservation) -> Symptom | None:
    limits, evaluation = observation.thresholds, observation.evaluation
    min_share = limits.class_images / observation.spec.evaluation.images
    expected = {label for label, share in evaluation.real_class_histogram.items() if share >= min_share}
    shares = {label: share for label, share in class_shares(evaluation).items() if label in expected}
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
    own = observation.evaluation.reference.get("label_accuracy")
    if own is None or not observation.spec.conditional or not observation.classifier_guesses:
        return None
    message = (
        f"The labels say nothing about the images: a classifier trained on them is right about {own:.0%} of real "
        "images that it has not seen, which is guessing. Mend the labels of the data set, or train without them."
    )
    evidence = FindingEvidence("reference/label_accuracy", own, observation.guessing_accuracy)
    step = observation.evaluation.step
    return Symptom("conditioning_ignored", "critical", step, message, (evidence,), UNINFORMATIVE_LABELS)


def conditioning_ignored(observation: EvaluationObservation) -> Symptom | None:
    """Return a symptom if many images are not of the class that was asked for.

    It is critical late in the run, and a warning before.
    """
    own = observation.evaluation.reference.get("label_accuracy")
    found = observation.evaluation.metrics.get("label_accuracy")
    if own is None or found is None or observation.classifier_guesses or not observation.recognisable:
        return None
    limit = observation.thresholds.conditioning_accuracy * own
    if found >= limit or observation.growth.still_growing("label_accuracy"):
        return None
    message = (
        f"{found:.0%} of the images are of the class that was asked for; of real images the same classifier "
        f"recognises {own:.0%}. G draws good images and ignores the label."
    )
    severity: Severity = "critical" if observation.late else "warning"
    evidence = FindingEvidence("label_accuracy", found, limit)
    return Symptom("conditioning_ignored", severity, observation.evaluation.step, message, (evidence,))


def equilibrium(observation: EvaluationObservation) -> Symptom | None:
    """Return an info if D cannot tell real from fake and quality stays near its best: more steps add nothing."""
    history, evaluations = observation.history, observation.thresholds.evaluations
    if history.best is None or history.balanced < evaluations:
        return None
    message = (
        f"D has been no better than a coin for {history.balanced} evaluations, and quality has stayed near the best, "
        f"that of step {history.best.step}: the game is over, and more steps add nothing."
    )
    evidence = FindingEvidence("evaluations_in_balance", float(history.balanced), float(evaluations))
    return Symptom("equilibrium", "info", history.balanced_since, message, (evidence,))


def past_best(observation: EvaluationObservation) -> Symptom | None:
    """Return a symptom if the FCD is well above its best, and several evaluations have brought no new best."""
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
    """Return a symptom if, late in the run, even the best FCD is close to that of the untrained G."""
    history = observation.history
    if not observation.late or history.best is None or history.untrained is None:
        return None
    limit = observation.thresholds.never_learned_distance * history.untrained
    if history.best.fcd <= limit:
        return None
    message = (
        f"The best FCD so far is {history.best.fcd:.3g}; before training it was {history.untrained:.3g}. "
        "G has learned next to nothing."
    )
    return Symptom("never_learned", "critical", 1, message, (FindingEvidence("best_fcd", history.best.fcd, limit),))


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
