"""Health rules on a probe. Each returns a symptom, or None where its condition does not hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from gan.findings import FindingEvidence
from gan.health.growth import Growth
from gan.health.symptom import Symptom
from gan.quality.probes import Probe
from gan.spec.catalog import DatasetInfo
from gan.spec.fields import TrainSpec
from gan.spec.safeguards import ThresholdsSpec

OverfittingGap = tuple[int, float]
"""(step, overfitting gap) of one probe."""

# Below this share of the collapse threshold, diversity is a collapse even if it grows.
_MIN_DIVERSITY_SHARE: Final = 0.25


@dataclass(frozen=True)
class ProbeObservation:
    """The input of the rules on a probe."""

    spec: TrainSpec
    info: DatasetInfo
    probe: Probe
    gaps: Sequence[OverfittingGap]
    """The overfitting gaps of the last probes; the last one is that of this probe."""
    growth: Growth
    """The measurements so far, those of this probe included."""
    recognisable: bool
    """Whether the images of the last evaluation were close enough to real ones to show classes."""
    collapsed: bool
    """Whether the whole generator has collapsed; then a collapse of single classes adds no information."""

    @property
    def thresholds(self) -> ThresholdsSpec:
        """The thresholds of the spec."""
        return self.spec.safeguards.thresholds


def mode_collapse(observation: ProbeObservation) -> Symptom | None:
    """Return a symptom if all images of a class are almost the same and do not become more diverse."""
    limits, probe = observation.thresholds, observation.probe
    if diversity_still_grows(limits, observation.growth, "diversity", probe.diversity):
        return None
    evidence, reasons = [], []
    if probe.diversity is not None and probe.diversity < limits.collapse_diversity:
        evidence.append(FindingEvidence("diversity", probe.diversity, limits.collapse_diversity))
        reasons.append(f"its images differ {probe.diversity:.0%} as much as real ones do")
    if probe.duplicates is not None and probe.duplicates > limits.collapse_duplicates:
        evidence.append(FindingEvidence("duplicates", probe.duplicates, limits.collapse_duplicates))
        reasons.append(f"{probe.duplicates:.0%} of a grid of them have a near duplicate in it")
    message = f"G has collapsed: {', and '.join(reasons)}. What z says hardly matters."
    return Symptom("mode_collapse", "critical", probe.step, message, tuple(evidence)) if evidence else None


def diversity_still_grows(limits: ThresholdsSpec, growth: Growth, name: str, diversity: float | None) -> bool:
    """Return whether `diversity` is above a minimum and still grows, as it does early in training.

    `name` is its name in `growth`.
    """
    minimum = _MIN_DIVERSITY_SHARE * limits.collapse_diversity
    return diversity is not None and diversity > minimum and growth.still_growing(name)


def class_collapse(observation: ProbeObservation) -> Symptom | None:
    """Return a symptom if some classes have lost their diversity and others have not."""
    if observation.collapsed or not observation.recognisable:
        return None
    probe, limits = observation.probe, observation.thresholds
    ratios = of_large_classes(probe.class_diversity, limits, observation.info)
    return low_class_diversity(limits, probe.step, ratios, observation.growth, "probe")


def of_large_classes(values: Mapping[str, float], limits: ThresholdsSpec, info: DatasetInfo) -> dict[str, float]:
    """Return the values of the classes with at least `class_images` real images, by label.

    Of fewer images nothing can be told: G can hardly do better than repeat them.
    """
    large = {c.label for c in info.classes if c.count >= limits.class_images}
    return {label: value for label, value in values.items() if label in large}


def low_class_diversity(
    limits: ThresholdsSpec, step: int, ratios: Mapping[str, float], growth: Growth, source: str
) -> Symptom | None:
    """Return a symptom for the classes whose diversity is below its threshold and does not grow.

    `ratios` maps each class label to the diversity of its images over that of real ones. `source` is the prefix of
    these values in `growth`.
    """
    limit = limits.class_diversity
    low = classes_below(ratios, limit, growth, source)
    if not low:
        return None
    message = f"The images of {listed([label for _, label in low])} differ too little from each other."
    evidence = tuple(FindingEvidence(f"class_diversity/{label}", ratio, limit) for ratio, label in low)
    return Symptom("class_collapse", "warning", step, message, evidence)


def classes_below(values: Mapping[str, float], limit: float, growth: Growth, source: str) -> list[tuple[float, str]]:
    """Return (value, label) of each class that is below `limit` and does not grow, the lowest first.

    Return none where most classes are below it: that is no problem of single classes.
    """
    low = {label: value for label, value in values.items() if value < limit}
    if 2 * len(low) > len(values):
        return []
    return sorted((value, label) for label, value in low.items() if not growth.still_growing(f"{source}/{label}"))


def conditioning_ignored(observation: ProbeObservation) -> Symptom | None:
    """Return a symptom if D ignores the labels of real images.

    D ignores them where its mean logit is no higher with the right label than with a wrong one (the margin), and the
    label hardly changes the logit (the swing). The margin alone is not enough. At the equilibrium every fake matches
    its label, so that D has seen no mismatched pair for a long time, and its margin crosses zero in healthy runs.
    """
    limits, probe = observation.thresholds, observation.probe
    margin, swing = probe.conditioning_margin, probe.conditioning_swing
    if margin is None or swing is None or margin > limits.conditioning_margin or swing >= limits.conditioning_swing:
        return None
    message = "D does not heed the labels: it says the same of a real image with a wrong label as with its own."
    evidence = (
        FindingEvidence("conditioning_margin", margin, limits.conditioning_margin),
        FindingEvidence("conditioning_swing", swing, limits.conditioning_swing),
    )
    return Symptom("conditioning_ignored", "warning", probe.step, message, evidence)


def discriminator_overfitting(observation: ProbeObservation) -> Symptom | None:
    """Return a symptom if D rates training images well above held-out ones, on average over several probes."""
    limits, gaps = observation.thresholds, observation.gaps
    if len(gaps) < limits.overfitting_probes:
        return None
    gap = fmean(value for _, value in gaps)
    if gap <= limits.overfitting_gap:
        return None
    message = (
        f"D's opinion of training images is {gap:.2f} above that of real images that it has not seen, over "
        f"{len(gaps)} probes: it knows them by heart, and teaches G to copy them."
    )
    evidence = FindingEvidence("overfitting_gap", gap, limits.overfitting_gap)
    return Symptom("discriminator_overfitting", "warning", gaps[0][0], message, (evidence,))


def growing_metrics(probe: Probe) -> Iterator[tuple[str, float]]:
    """Yield (name, value) of each metric of a probe that grows early in training."""
    if probe.diversity is not None:
        yield "diversity", probe.diversity
    yield from ((f"probe/{label}", ratio) for label, ratio in probe.class_diversity.items())


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return the first `most` of `names` in quotes, such as "'a', 'b' and 'c'", and the number of the others."""
    shown = [repr(name) for name in names[:most]]
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} more classes"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


RULES: Final[dict[str, Callable[[ProbeObservation], Symptom | None]]] = {
    "mode_collapse/probe": mode_collapse,
    "class_collapse/probe": class_collapse,
    "conditioning_ignored/probe": conditioning_ignored,
    "discriminator_overfitting": discriminator_overfitting,
}
"""All rules on a probe, by the name of their hysteresis in a checkpoint."""
