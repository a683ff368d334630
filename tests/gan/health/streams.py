"""Made-up runs: what health is fed by one that goes well, and by one for each way to fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from gan.adversarial.step import D_METRICS, G_METRICS
from gan.findings import HealthFinding
from gan.health import HealthMonitor
from gan.quality.evaluate import EvaluationResult
from gan.quality.probes import Probe
from gan.spec import TrainSpec, merged, resolve
from gan.spec.catalog import BUILTIN_DATASETS

INFO: Final = BUILTIN_DATASETS["fashion-mnist"]
LABELS: Final = INFO.labels
NAMES: Final = D_METRICS + G_METRICS
STEPS: Final = 20_000
EVENLY: Final = dict.fromkeys(LABELS, 0.1)
# From when on a run that fails does so.
FAILS_AT: Final = 8_000

HEALTHY_ROW: Final = {
    "loss_d": 1.0, "d_accuracy": 0.78, "real_logit": 0.7, "fake_logit": -0.7, "penalty_d": 0.0, "class_loss_d": 0.0,
    "grad_norm_d": 15.0, "loss_g": 1.6, "grad_norm_g": 4.0,
}  # fmt: skip
# The table of section 4 of the design: a cGAN after 80k images, and what real images reach.
GOOD: Final = {
    "fcd": 3.3, "kcd": 0.03, "precision": 0.92, "recall": 0.59, "density": 0.8, "coverage": 0.62,
    "diversity": 0.9, "classifier_score": 7.0, "label_accuracy": 0.85,
}  # fmt: skip
UNTRAINED: Final = {
    "fcd": 60.6, "kcd": 5.0, "precision": 0.0, "recall": 0.0, "density": 0.0, "coverage": 0.0,
    "diversity": 0.01, "classifier_score": 1.0, "label_accuracy": 0.1,
}  # fmt: skip
REALS: Final = {"fcd": 0.009, "precision": 0.95, "recall": 0.95, "coverage": 0.968, "label_accuracy": 0.921}


# The plain game, written out: what the presets' numbers are tuned to is no matter of health's.
PLAIN: Final[dict[str, Any]] = {
    "dataset": "fashion-mnist",
    "preset": "cgan-concat",
    "batch_size": 64,
    "generator": {"z_dim": 64},
    "loss": {"kind": "non_saturating"},
    "optimizers": {"g": {"learning_rate": 6e-4}, "d": {"learning_rate": 6e-4}},
    "safeguards": {"every_steps": 100, "probe_every_steps": 500},
}


def spec_of(total_steps: int = STEPS, **changes: Any) -> TrainSpec:
    """The plain game, evaluated every 1,000 steps."""
    asked = {"total_steps": total_steps, "evaluation": {"enabled": True, "every_steps": 1_000, "images": 2_000}}
    if changes.get("evaluation", {}).get("enabled") is False:
        asked.pop("evaluation")
    return resolve(merged(merged(PLAIN, asked), changes))


def evaluation(step: int, **metrics: float) -> EvaluationResult:
    return EvaluationResult(
        step=step,
        images_seen=64 * step,
        metrics={**GOOD, **metrics},
        class_histogram=EVENLY,
        real_class_histogram=EVENLY,
        within_class_diversity=dict.fromkeys(LABELS, 0.9),
        label_accuracy_by_class={},
        reference=REALS,
    )


def probe(step: int, **changes: Any) -> Probe:
    seen = Probe(
        step=step,
        diversity=0.8,
        class_diversity=dict.fromkeys(LABELS, 0.8),
        duplicates=0.02,
        conditioning_margin=0.2,
        conditioning_swing=0.8,
        overfitting_gap=0.02,
    )
    return replace(seen, **changes)


def _figures(row: Mapping[str, float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([row[name] for name in NAMES])


@dataclass(frozen=True)
class Run:
    """A run that is healthy but for what it is given: from `at` on, these figures in place of the healthy ones."""

    row: Mapping[str, float] = field(default_factory=dict)
    probe: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, float] = field(default_factory=dict)
    tables: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `Evaluation` beside its metrics."""
    at: int = FAILS_AT

    def rows(self, first: int, last: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Steps first to last; each figure wavers by a tenth, the same whenever it is asked."""
        steps = np.arange(first, last + 1)[:, None]
        figures = np.where(steps < self.at, _figures(HEALTHY_ROW), _figures({**HEALTHY_ROW, **self.row}))
        wavers = 1 + 0.1 * np.sin(steps * np.arange(1, 1 + len(NAMES)))
        rows: np.ndarray[Any, np.dtype[np.float32]] = (figures * wavers).astype(np.float32)
        return rows

    def probed(self, step: int) -> Probe:
        return probe(step, **(self.probe if step >= self.at else {}))

    def evaluated(self, step: int) -> EvaluationResult:
        """Quality gets better until step 6,000, and stays."""
        if step == 0:
            return evaluation(0, **UNTRAINED)
        fcd = GOOD["fcd"] * (1 + 4 * max(0.0, 1 - step / 6_000))
        if step < self.at:
            return evaluation(step, fcd=fcd)
        return replace(evaluation(step, **{"fcd": fcd, **self.evaluation}), **self.tables)


def fed(
    health: HealthMonitor, spec: TrainSpec, run: Run, after: int = 0, until: int | None = None
) -> Iterator[HealthFinding]:
    """Feed `health` as a trainer would, from the step after the look at `after`; what it finds, as it does."""
    looks, probes, evaluates = spec.safeguards.every_steps, spec.safeguards.probe_every_steps, spec.evaluation
    if after == 0 and evaluates.enabled:
        yield from health.add_evaluation(run.evaluated(0))
    for step in range(after + 1, (until or spec.total_steps) + 1):
        if step % looks == 0:
            yield from health.add_losses(step - looks + 1, NAMES, run.rows(step - looks + 1, step))
        if step % probes == 0:
            yield from health.add_probe(run.probed(step))
        if evaluates.enabled and step % evaluates.every_steps == 0:
            yield from health.add_evaluation(run.evaluated(step))


HEALTHY: Final = Run()
NOISE: Final = {**UNTRAINED, "diversity": 2.0}
CLASSES_LOST: Final = {**EVENLY, "Bag": 0.01}
ONE_CLASS_ALIKE: Final = {**dict.fromkeys(LABELS, 0.8), "Coat": 0.1}

# Each way to fail, by the finding that must come of it, and no other.
FAILING: Final[dict[str, tuple[str, Run]]] = {
    "D wins by loss": ("vanishing_gradients", Run({"loss_d": 0.03, "d_accuracy": 0.995})),
    "G's gradient is gone": (
        "vanishing_gradients",
        Run({"loss_d": 1e-6, "d_accuracy": 1.2, "grad_norm_g": 0.001, "real_logit": 30, "fake_logit": -30}),
    ),
    "D sees nothing": (
        "generator_dominates",
        Run({"loss_d": 4.0, "d_accuracy": 0.2, "real_logit": -0.1, "fake_logit": 4.0, "loss_g": 0.02}),
    ),
    "all images alike": ("mode_collapse", Run(probe={"diversity": 0.05, "class_diversity": {"Bag": 0.05}})),
    "a grid of duplicates": ("mode_collapse", Run(probe={"duplicates": 0.7})),
    "coverage lost": ("mode_collapse", Run(evaluation={"coverage": 0.3})),
    "recall lost": ("mode_collapse", Run(evaluation={"coverage": 0.55, "recall": 0.02})),
    "images alike when evaluated": ("mode_collapse", Run(evaluation={"diversity": 0.1})),
    "a class alike": ("class_collapse", Run(probe={"class_diversity": ONE_CLASS_ALIKE})),
    "a class alike when evaluated": ("class_collapse", Run(tables={"within_class_diversity": ONE_CLASS_ALIKE})),
    "a class lost": ("class_collapse", Run(tables={"class_histogram": CLASSES_LOST})),
    "D deaf to labels": ("conditioning_ignored", Run(probe={"conditioning_margin": 0.0, "conditioning_swing": 0.0})),
    "labels ignored": ("conditioning_ignored", Run(evaluation={"label_accuracy": 0.097})),
    "labels say nothing": (
        "conditioning_ignored",
        Run(evaluation={"label_accuracy": 0.1}, tables={"reference": {**REALS, "label_accuracy": 0.11}}),
    ),
    "a coin": (
        "equilibrium",
        Run({"loss_d": 1.39, "d_accuracy": 0.5, "real_logit": 0.0, "fake_logit": 0.0, "loss_g": 0.7}),
    ),
    "the best is past": ("past_best", Run(evaluation={"fcd": 6.0})),
    "nothing learned": ("never_learned", Run(evaluation=NOISE, at=1)),
    "steep": ("divergence", Run({"grad_norm_d": 500.0})),
    "D's loss leaves": ("divergence", Run({"loss_d": 30.0, "real_logit": -9.0, "fake_logit": -3.0})),
    "D knows by heart": ("discriminator_overfitting", Run(probe={"overfitting_gap": 0.5})),
    "not finite": ("non_finite", Run({"loss_g": float("nan")})),
}
