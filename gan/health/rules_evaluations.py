"""Rules on an evaluation, asked at every one: each says what it sees, or None."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from gan.findings import FindingEvidence, Severity
from gan.health.growth import Growth
from gan.health.quality import Quality
from gan.health.rules_probes import listed, lowest, poor_classes, young
from gan.health.symptom import LABELS_SAY_NOTHING, Symptom
from gan.quality.evaluate import EvaluationResult
from gan.spec.catalog import DatasetInfo
from gan.spec.fields import TrainSpec


@dataclass(frozen=True)
class EvaluationObservation:
    """What a rule on an evaluation may see."""

    spec: TrainSpec
    info: DatasetInfo
    evaluation: EvaluationResult
    quality: Quality
    """This evaluation is in it."""
    growth: Growth
    """And in this."""
    collapsed: bool
    """Whether the generator as a whole has collapsed, so that its classes are no news."""

    @property
    def late(self) -> bool:
        """Whether a run has had the time to learn something."""
        return self.evaluation.step >= self.spec.safeguards.thresholds.late_share * self.spec.total_steps

    @property
    def recognisable(self) -> bool:
        """Whether the images are near enough to real ones that a classifier's word on them counts."""
        return self.evaluation.metrics["precision"] >= self.spec.safeguards.thresholds.recognisable_precision

    @property
    def guessing(self) -> float:
        """The classifier's accuracy below which it does no more than guess the commonest class, somewhat too well."""
        counts = [c.count for c in self.info.classes]
        commonest = max(counts, default=1) / max(1, sum(counts))
        return min(1.0, self.spec.safeguards.thresholds.conditioning_chance * commonest)

    @property
    def guessed(self) -> bool:
        """Whether the classifier only guesses, so that its word on a class is worth nothing."""
        return self.evaluation.reference.get("label_accuracy", 1.0) < self.guessing


def mode_collapse(judged: EvaluationObservation) -> Symptom | None:
    """Images that look real, but few of them: all of a class alike, or large parts of the reals not reached."""
    return _all_alike(judged) or _parts_missing(judged)


def _all_alike(judged: EvaluationObservation) -> Symptom | None:
    limit, diversity = judged.spec.safeguards.thresholds.collapse_diversity, judged.evaluation.metrics["diversity"]
    if diversity >= limit or young(judged.spec, judged.growth, diversity_name(judged.evaluation), diversity):
        return None
    message = f"G has collapsed: its images differ from each other {diversity:.0%} as much as real ones do."
    evidence = FindingEvidence("diversity", diversity, limit)
    return Symptom("mode_collapse", "critical", judged.evaluation.step, message, (evidence,))


def _parts_missing(judged: EvaluationObservation) -> Symptom | None:
    limits, metrics = judged.spec.safeguards.thresholds, judged.evaluation.metrics
    # Low coverage with low precision are bad images, not few: they are past_best or never_learned.
    if metrics["precision"] <= limits.collapse_precision:
        return None
    evidence = []
    least = least_coverage(judged.spec, judged.evaluation)
    if judged.quality.had_covered and metrics["coverage"] < least:
        evidence.append(FindingEvidence("coverage", metrics["coverage"], least))
    # A young G reaches few images too, and gets better.
    stagnant = judged.late and judged.quality.stagnant >= limits.evaluations
    if stagnant and metrics["recall"] < limits.collapse_recall:
        evidence.append(FindingEvidence("recall", metrics["recall"], limits.collapse_recall))
    if not evidence:
        return None
    evidence.append(FindingEvidence("precision", metrics["precision"], limits.collapse_precision))
    message = (
        f"G has lost part of the data set: its images look real (precision {metrics['precision']:.2f}), but they "
        f"reach few of the real ones (coverage {metrics['coverage']:.2f}, recall {metrics['recall']:.2f})."
    )
    return Symptom("mode_collapse", "warning", judged.evaluation.step, message, tuple(evidence))


def figures_of_evaluation(evaluation: EvaluationResult) -> Iterator[tuple[str, float]]:
    """The figures that are to grow in a young generator."""
    yield diversity_name(evaluation), evaluation.metrics["diversity"]
    if "label_accuracy" in evaluation.metrics:
        yield "label_accuracy", evaluation.metrics["label_accuracy"]
    yield from ((f"within/{label}", ratio) for label, ratio in evaluation.within_class_diversity.items())
    yield from ((f"share/{label}", share) for label, share in class_shares(evaluation).items())


def diversity_name(evaluation: EvaluationResult) -> str:
    """A conditional generator's is what a probe measures too; others' is taken within the classifier's classes."""
    return "diversity" if "label_accuracy" in evaluation.metrics else "within/"


def least_coverage(spec: TrainSpec, evaluation: EvaluationResult) -> float:
    """What coverage must not fall below again."""
    return spec.safeguards.thresholds.collapse_coverage * evaluation.reference.get("coverage", 1.0)


def class_collapse(judged: EvaluationObservation) -> Symptom | None:
    """A class that is hardly drawn any more, or that has lost its variety."""
    if judged.collapsed or judged.guessed or not judged.recognisable:
        return None
    ratios = judged.evaluation.within_class_diversity
    return _rare_classes(judged) or poor_classes(judged.spec, judged.evaluation.step, ratios, judged.growth, "within")


def _rare_classes(judged: EvaluationObservation) -> Symptom | None:
    limits, evaluation = judged.spec.safeguards.thresholds, judged.evaluation
    counted = limits.class_images / judged.spec.evaluation.images
    expected = {label for label, share in evaluation.real_class_histogram.items() if share >= counted}
    shares = {label: share for label, share in class_shares(evaluation).items() if label in expected}
    rare = lowest(shares, limits.class_share, judged.growth, "share")
    if not rare:
        return None
    message = (
        f"G hardly draws {listed([label for _, label in rare])}: under {limits.class_share:.0%} of the share that "
        "real images of it have."
    )
    evidence = tuple(FindingEvidence(f"class_share/{label}", share, limits.class_share) for share, label in rare)
    return Symptom("class_collapse", "warning", evaluation.step, message, evidence)


def class_shares(evaluation: EvaluationResult) -> dict[str, float]:
    """Class label -> share of the fakes over that of the reals."""
    return {
        label: evaluation.class_histogram.get(label, 0.0) / share
        for label, share in evaluation.real_class_histogram.items()
        if share > 0.0
    }


def labels_say_nothing(judged: EvaluationObservation) -> Symptom | None:
    """Labels from which nobody could learn the class."""
    own = judged.evaluation.reference.get("label_accuracy")
    if own is None or not judged.spec.conditional or not judged.guessed:
        return None
    message = (
        f"The labels say nothing about the images: a classifier trained on them is right about {own:.0%} of real "
        "images that it has not seen, which is guessing. Mend the labels of the data set, or train without them."
    )
    evidence = FindingEvidence("reference/label_accuracy", own, judged.guessing)
    step = judged.evaluation.step
    return Symptom("conditioning_ignored", "critical", step, message, (evidence,), LABELS_SAY_NOTHING)


def conditioning_ignored(judged: EvaluationObservation) -> Symptom | None:
    """Images that are not of the class that was asked for."""
    own = judged.evaluation.reference.get("label_accuracy")
    found = judged.evaluation.metrics.get("label_accuracy")
    if own is None or found is None or judged.guessed or not judged.recognisable:
        return None
    limit = judged.spec.safeguards.thresholds.conditioning_accuracy * own
    if found >= limit or judged.growth.young("label_accuracy"):
        return None
    message = (
        f"{found:.0%} of the images are of the class that was asked for; of real images the same classifier "
        f"recognises {own:.0%}. G draws good images and ignores the label."
    )
    severity: Severity = "critical" if judged.late else "warning"
    evidence = FindingEvidence("label_accuracy", found, limit)
    return Symptom("conditioning_ignored", severity, judged.evaluation.step, message, (evidence,))


def equilibrium(judged: EvaluationObservation) -> Symptom | None:
    """D cannot tell, and quality is at its best and stays there: what G learns from now on is chance."""
    quality = judged.quality
    if quality.best is None or quality.balanced < judged.spec.safeguards.thresholds.evaluations:
        return None
    message = (
        f"D has been no better than a coin for {quality.balanced} evaluations, and quality has stayed near the best, "
        f"that of step {quality.best.step}: the game is over, and more steps add nothing."
    )
    evidence = FindingEvidence(
        "evaluations_in_balance", float(quality.balanced), float(judged.spec.safeguards.thresholds.evaluations)
    )
    return Symptom("equilibrium", "info", quality.balanced_since, message, (evidence,))


def past_best(judged: EvaluationObservation) -> Symptom | None:
    """The generator was better, and has not come back."""
    limits, quality, fcd = judged.spec.safeguards.thresholds, judged.quality, judged.evaluation.metrics["fcd"]
    if quality.best is None or quality.since_best < limits.evaluations:
        return None
    # As near as reals, or nearly, all are equally good: a ratio of two such distances is chance.
    nearest = max(quality.best.fcd, limits.past_best_reals * judged.evaluation.reference.get("fcd", 0.0))
    if fcd < limits.past_best_warning * nearest:
        return None
    critical = fcd >= limits.past_best_critical * nearest
    factor = limits.past_best_critical if critical else limits.past_best_warning
    message = (
        f"The best was at step {quality.best.step}, an FCD of {quality.best.fcd:.3g}; now it is {fcd:.3g}, and "
        f"{quality.since_best} evaluations have not bettered it. The best checkpoint is kept."
    )
    evidence = (
        FindingEvidence("fcd", fcd, factor * nearest),
        FindingEvidence("evaluations_since_best", float(quality.since_best), float(limits.evaluations)),
    )
    return Symptom("past_best", "critical" if critical else "warning", quality.best.step, message, evidence)


def never_learned(judged: EvaluationObservation) -> Symptom | None:
    """Even the best is not far from what an untrained G draws."""
    quality = judged.quality
    if not judged.late or quality.best is None or quality.untrained is None:
        return None
    limit = judged.spec.safeguards.thresholds.never_learned_distance * quality.untrained
    if quality.best.fcd <= limit:
        return None
    message = (
        f"The best FCD so far is {quality.best.fcd:.3g}; before training it was {quality.untrained:.3g}. "
        "G has learned next to nothing."
    )
    return Symptom("never_learned", "critical", 1, message, (FindingEvidence("best_fcd", quality.best.fcd, limit),))


RULES: Final[dict[str, Callable[[EvaluationObservation], Symptom | None]]] = {
    "mode_collapse/evaluation": mode_collapse,
    "class_collapse/evaluation": class_collapse,
    "conditioning_ignored/labels": labels_say_nothing,
    "conditioning_ignored/evaluation": conditioning_ignored,
    "equilibrium": equilibrium,
    "past_best": past_best,
    "never_learned": never_learned,
}
