"""How the client shows the quality metrics of an evaluation: their labels, and which of them a summary contains.

The client shows every metric that the API returns. A metric without an entry here is shown under its own name, as
one where higher is better. `tests/gantry/test_quality.py` compares this table with `gan/spec/metrics.py`, which the
client cannot import.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class ShownMetric:
    """How one quality metric is shown."""

    label: str
    lower_is_better: bool = False
    """Whether it is a distance, which has no upper bound."""
    drawn: bool = True
    """Whether a chart of distances and shares has a scale for it."""


# Metrics whose label or scale does not follow from their name.
_SHOWN: Final = {
    "fcd": ShownMetric("FCD", lower_is_better=True),
    "kcd": ShownMetric("KCD", lower_is_better=True),
    "classifier_score": ShownMetric("classifier score", drawn=False),
}
SUMMARY: Final = ("fcd", "coverage", "precision", "recall", "label_accuracy")
"""The metrics that a summary of an evaluation in one line shows, in this order."""


def shown(name: str) -> ShownMetric:
    """Return how the metric `name` is shown."""
    return _SHOWN.get(name, ShownMetric(name.replace("_", " ")))
