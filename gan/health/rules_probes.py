"""Rules on a probe, asked at every one: each says what it sees, or None."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from gan.findings import FindingEvidence
from gan.health.growth import Growth
from gan.health.symptom import Symptom
from gan.quality.probes import Probe
from gan.spec.fields import TrainSpec

Gap = tuple[int, float]
# Variety below this share of what is a collapse is none, whether it grows or not.
_SOME: Final = 0.25


@dataclass(frozen=True)
class ProbeObservation:
    """What a rule on a probe may see."""

    spec: TrainSpec
    probe: Probe
    gaps: Sequence[Gap]
    """(step, overfitting gap) of the last probes, this one the last of them."""
    growth: Growth
    """This probe is in it."""
    recognisable: bool
    """Whether the images were near enough to real ones, when last evaluated, to have classes."""
    collapsed: bool
    """Whether the generator as a whole has collapsed, so that its classes are no news."""


def total_collapse(glance: ProbeObservation) -> Symptom | None:
    """All images of a class are nearly one, and do not differ more from probe to probe."""
    limits, probe = glance.spec.safeguards.thresholds, glance.probe
    if young(glance.spec, glance.growth, "diversity", probe.diversity):
        return None
    evidence, seen = [], []
    if probe.diversity is not None and probe.diversity < limits.collapse_diversity:
        evidence.append(FindingEvidence("diversity", probe.diversity, limits.collapse_diversity))
        seen.append(f"its images differ {probe.diversity:.0%} as much as real ones do")
    if probe.duplicates > limits.collapse_duplicates:
        evidence.append(FindingEvidence("duplicates", probe.duplicates, limits.collapse_duplicates))
        seen.append(f"{probe.duplicates:.0%} of a grid of them have a near duplicate in it")
    message = f"G has collapsed: {', and '.join(seen)}. What z says hardly matters."
    return Symptom("mode_collapse", "critical", probe.step, message, tuple(evidence)) if evidence else None


def young(spec: TrainSpec, growth: Growth, name: str, diversity: float | None) -> bool:
    """Whether there is some variety, and it grows."""
    least = _SOME * spec.safeguards.thresholds.collapse_diversity
    return diversity is not None and diversity > least and growth.young(name)


def class_collapse(glance: ProbeObservation) -> Symptom | None:
    """Some classes have lost their variety, while others have not."""
    if glance.collapsed or not glance.recognisable:
        return None
    return poor_classes(glance.spec, glance.probe.step, glance.probe.class_diversity, glance.growth, "probe")


def poor_classes(
    spec: TrainSpec, step: int, ratios: Mapping[str, float], growth: Growth, source: str
) -> Symptom | None:
    """The classes whose images are too much alike, by their diversity ratios, and stay so."""
    limit = spec.safeguards.thresholds.class_diversity
    poor = lowest(ratios, limit, growth, source)
    if not poor:
        return None
    message = f"The images of {listed([label for _, label in poor])} differ too little from each other."
    evidence = tuple(FindingEvidence(f"class_diversity/{label}", ratio, limit) for ratio, label in poor)
    return Symptom("class_collapse", "warning", step, message, evidence)


def lowest(values: Mapping[str, float], limit: float, growth: Growth, source: str) -> list[tuple[float, str]]:
    """The classes that are below the limit and not growing, with their values; none where they are the majority."""
    low = {label: value for label, value in values.items() if value < limit}
    if 2 * len(low) > len(values):
        return []
    return sorted((value, label) for label, value in low.items() if not growth.young(f"{source}/{label}"))


def deaf_to_labels(glance: ProbeObservation) -> Symptom | None:
    """D finds real images no better with their own labels, and is hardly moved by the label at all.

    The margin alone says little: at the balance every fake matches its label, so that a D which hears it well has
    seen no wrong pair for long, and its margin crosses zero in healthy runs.
    """
    limits, probe = glance.spec.safeguards.thresholds, glance.probe
    margin, swing = probe.conditioning_margin, probe.conditioning_swing
    if margin is None or swing is None or margin > limits.conditioning_margin or swing >= limits.conditioning_swing:
        return None
    message = "D does not heed the labels: it says the same of a real image with a wrong label as with its own."
    evidence = (
        FindingEvidence("conditioning_margin", margin, limits.conditioning_margin),
        FindingEvidence("conditioning_swing", swing, limits.conditioning_swing),
    )
    return Symptom("conditioning_ignored", "warning", probe.step, message, evidence)


def discriminator_overfitting(glance: ProbeObservation) -> Symptom | None:
    """D knows the training images by heart: it thinks less of reals that it has not seen."""
    limits, gaps = glance.spec.safeguards.thresholds, glance.gaps
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


def figures_of_probe(probe: Probe) -> Iterator[tuple[str, float]]:
    """The figures that are to grow in a young generator."""
    if probe.diversity is not None:
        yield "diversity", probe.diversity
    yield from ((f"probe/{label}", ratio) for label, ratio in probe.class_diversity.items())


def listed(names: Sequence[str], most: int = 5) -> str:
    """ "a, b and c", the first few of them."""
    shown = [repr(name) for name in names[:most]]
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} more classes"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


RULES: Final[dict[str, Callable[[ProbeObservation], Symptom | None]]] = {
    "mode_collapse/probe": total_collapse,
    "class_collapse/probe": class_collapse,
    "conditioning_ignored/probe": deaf_to_labels,
    "discriminator_overfitting": discriminator_overfitting,
}
