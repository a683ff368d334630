"""The verdict on a run in one sentence: what a person would see in its images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gan.findings import FindingEvidence, HealthFinding, HealthSummary
from gan.health.quality import EvaluationHistory
from gan.spec.fields import TrainSpec

# What images lack, by the figure that is too low; the first that applies is what a person notices.
_HEADLINES: Final = {
    "precision": "Nothing recognisable",
    "fcd": "Nothing recognisable",
    "coverage": "Only a few kinds of images",
    "label_accuracy": "Not the classes that were asked for",
}
_SHOWN: Final = ("precision", "coverage", "label_accuracy", "fcd")


def summary(
    spec: TrainSpec, findings: Sequence[HealthFinding], history: EvaluationHistory, warm_up_end: int, warmed_up: bool
) -> HealthSummary:
    """Return the verdict on a run of `spec`. `findings` are those that hold, the worst first.

    It is healthy only on evidence: the last evaluation must show images that a person would recognise.
    """
    worst = findings[0] if findings else None
    if worst is not None and worst.severity != "info":
        return HealthSummary("failing" if worst.severity == "critical" else "warning", worst.message)
    if not spec.evaluation.enabled:
        message = "Quality is not measured, because evaluation.enabled is false: look at the previews."
        return HealthSummary("unknown", message, "not_measured")
    if history.evaluated_at is None:
        first = min(spec.evaluation.every_steps, spec.total_steps)
        return HealthSummary(
            "unknown", f"Not evaluated yet: the first evaluation is at step {first}.", "still_learning"
        )
    if history.missing:
        return HealthSummary("unknown", _what_is_missing(history), "still_learning", history.missing)
    if not warmed_up:
        message = f"{_what_is_seen(history)} Too early for a verdict: the warm-up lasts until step {warm_up_end}."
        return HealthSummary("unknown", message, "still_learning")
    return HealthSummary("healthy", _what_is_seen(history))


def headline(missing: Sequence[FindingEvidence]) -> str:
    """Return what a person would say about images that lack `missing`, without a full stop."""
    low = {evidence.metric for evidence in missing}
    return next(text for name, text in _HEADLINES.items() if name in low)


def shortfall(missing: Sequence[FindingEvidence]) -> str:
    """Return the figures that are too low, such as "precision 0.002 where 0.28 is needed"."""
    return ", ".join(f"{e.metric.replace('_', ' ')} {e.value:.2g} where {e.threshold:.2g} is needed" for e in missing)


def steps(count: int) -> str:
    """Return a number of steps in words, such as "27 steps"."""
    return "1 step" if count == 1 else f"{count} steps"


def _what_is_missing(history: EvaluationHistory) -> str:
    assert history.evaluated_at is not None
    yet = f"yet: {steps(history.evaluated_at)}"
    if history.learned and history.best is not None:
        yet = f"now, at step {history.evaluated_at}; the best was at step {history.best.step}"
    return f"{headline(history.missing)} {yet} ({shortfall(history.missing)})."


def _what_is_seen(history: EvaluationHistory) -> str:
    figures = history.figures or {}
    shown = (f"{name.replace('_', ' ')} {figures[name]:.2g}" for name in _SHOWN if name in figures)
    return f"Recognisable images at step {history.evaluated_at}: {', '.join(shown)}."
