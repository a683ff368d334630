"""The quality metrics of an evaluation: their names, what they measure and which direction is better.

A new metric touches two files: an entry here, and the line in `gan.quality.scores.score` that computes it. Terminal,
dashboard and curves show it by its name. `gantry/quality.py` overrides how the client shows a metric; a test compares
the two. This module imports the standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True)
class QualityMetric:
    """The facts about one quality metric."""

    meaning: str
    """One sentence: what it measures, and its range."""
    better: Literal["lower", "higher", "one"]
    """Which values are better; "one": values near 1, as real images have."""
    label: str = ""
    """The name for people; by default the name with spaces for underscores."""
    in_summary: bool = False
    """Whether a summary of an evaluation in one line shows it."""
    drawn: bool = True
    """Whether it fits on a chart of distances and shares."""


QUALITY_METRICS: Final[dict[str, QualityMetric]] = {
    "fcd": QualityMetric(
        "Fréchet distance between the features of fakes and of all training images (Heusel et al. 2017), 0 or more.",
        better="lower",
        label="FCD",
        in_summary=True,
    ),
    "kcd": QualityMetric(
        "Kernel distance between the features of fakes and of reals (Binkowski et al. 2018), about 0 or more.",
        better="lower",
        label="KCD",
    ),
    "precision": QualityMetric(
        "Share of fakes that lie among the reals (Kynkäänniemi et al. 2019), 0 to 1.",
        better="higher",
        in_summary=True,
    ),
    "recall": QualityMetric(
        "Share of reals that lie among the fakes (Kynkäänniemi et al. 2019), 0 to 1.",
        better="higher",
        in_summary=True,
    ),
    "density": QualityMetric(
        "How many neighbourhoods of reals a fake lies in, relative to a real (Naeem et al. 2020), 0 or more.",
        better="one",
    ),
    "coverage": QualityMetric(
        "Share of reals that have a fake in their neighbourhood (Naeem et al. 2020), 0 to 1.",
        better="higher",
        in_summary=True,
    ),
    "classifier_score": QualityMetric(
        "Inception score with the data set's own classifier (Salimans et al. 2016), 1 to the number of classes.",
        better="higher",
        drawn=False,
    ),
    "label_accuracy": QualityMetric(
        "Share of fakes that the classifier assigns to the class they were drawn for, 0 to 1.",
        better="higher",
        in_summary=True,
    ),
    "diversity": QualityMetric(
        "Mean pixel distance between fakes of a class over that between reals of the class, 0 or more.", better="one"
    ),
    "accuracy_trained_on_fakes": QualityMetric(
        "Accuracy on reals of a classifier trained on fakes alone (Ravuri and Vinyals 2019), 0 to 1.", better="higher"
    ),
}
