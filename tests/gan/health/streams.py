"""Simulated runs as input for the health monitor: a healthy one, and one for each kind of failure."""

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
# The step from which on a failing run differs from a healthy one.
FAILS_AT: Final = 8_000

HEALTHY_ROW: Final = {
    "loss_d": 1.0, "d_accuracy": 0.78, "real_logit": 0.7, "fake_logit": -0.7, "real_score": 0.67,
    "fake_score": 0.33, "penalty_d": 0.0, "class_loss_d": 0.0, "grad_norm_d": 15.0, "loss_g": 1.6, "grad_norm_g": 4.0,
}  # fmt: skip
# Measured: a conditional GAN after 80,000 images, an untrained one, and held-out real images.
GOOD: Final = {
    "fcd": 3.3, "kcd": 0.03, "precision": 0.92, "recall": 0.59, "density": 0.8, "coverage": 0.62,
    "diversity": 0.9, "classifier_score": 7.0, "label_accuracy": 0.85,
}  # fmt: skip
UNTRAINED: Final = {
    "fcd": 60.6, "kcd": 5.0, "precision": 0.0, "recall": 0.0, "density": 0.0, "coverage": 0.0,
    "diversity": 0.01, "classifier_score": 1.0, "label_accuracy": 0.1,
}  # fmt: skip
REALS: Final = {"fcd": 0.009, "precision": 0.95, "recall": 0.95, "coverage": 0.968, "label_accuracy": 0.921}


# A plain conditional GAN with its values written out, so that the tests do not depend on the tuning of the presets.
PLAIN: Final[dict[str, Any]] = {
    "dataset": "fashion-mnist",
    "preset": "cgan-concat",
    "batch_size": 64,
    "generator": {"z_dim": 64},
    "loss": {"kind": "non_saturating"},
    "optimizers": {"g": {"learning_rate": 6e-4}, "d": {"learning_rate": 6e-4}},
    "safeguards": {"every_steps": 100, "probe_every_steps": 500},
}


def spec_with(total_steps: int = STEPS, **changes: Any) -> TrainSpec:
    """Return the plain spec, evaluated every 1,000 steps, with `changes`."""
    asked = {"total_steps": total_steps, "evaluation": {"enabled": True, "every_steps": 1_000, "images": 2_000}}
    if changes.get("evaluation", {}).get("enabled") is False:
        asked.pop("evaluation")
    return resolve(merged(merged(PLAIN, asked), changes))


def evaluation(step: int, **metrics: float) -> EvaluationResult:
    """Return a good evaluation with other values for some metrics."""
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
    """Return the probe of a healthy run with other values for some fields."""
    healthy = Probe(
        step=step,
        diversity=0.8,
        class_diversity=dict.fromkeys(LABELS, 0.8),
        duplicates=0.02,
        conditioning_margin=0.2,
        conditioning_swing=0.8,
        overfitting_gap=0.02,
    )
    return replace(healthy, **changes)


def _figures(row: Mapping[str, float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([row[name] for name in NAMES])


@dataclass(frozen=True)
class SimulatedRun:
    """A healthy run that has other values from step `from_step` on."""

    row: Mapping[str, float] = field(default_factory=dict)
    probe: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, float] = field(default_factory=dict)
    tables: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `EvaluationResult` other than its metrics."""
    from_step: int = FAILS_AT

    def rows(self, first: int, last: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return the metrics of the steps `first` to `last`; each value varies by a tenth from step to step."""
        steps = np.arange(first, last + 1)[:, None]
        figures = np.where(steps < self.from_step, _figures(HEALTHY_ROW), _figures({**HEALTHY_ROW, **self.row}))
        wavers = 1 + 0.1 * np.sin(steps * np.arange(1, 1 + len(NAMES)))
        rows: np.ndarray[Any, np.dtype[np.float32]] = (figures * wavers).astype(np.float32)
        return rows

    def probe_at(self, step: int) -> Probe:
        """Return the probe at `step`."""
        return probe(step, **(self.probe if step >= self.from_step else {}))

    def evaluation_at(self, step: int) -> EvaluationResult:
        """Return the evaluation at `step`; quality improves until step 6,000 and then stays constant."""
        if step == 0:
            return evaluation(0, **UNTRAINED)
        fcd = GOOD["fcd"] * (1 + 4 * max(0.0, 1 - step / 6_000))
        if step < self.from_step:
            return evaluation(step, fcd=fcd)
        return replace(evaluation(step, **{"fcd": fcd, **self.evaluation}), **self.tables)


def feed(
    health: HealthMonitor, spec: TrainSpec, run: SimulatedRun, after: int = 0, until: int | None = None
) -> Iterator[HealthFinding]:
    """Call `health` as a trainer does, for the steps after `after` up to `until`. Yield its findings."""
    check_every, probe_every = spec.safeguards.every_steps, spec.safeguards.probe_every_steps
    if after == 0 and spec.evaluation.enabled:
        yield from health.add_evaluation(run.evaluation_at(0))
    for step in range(after + 1, (until or spec.total_steps) + 1):
        if step % check_every == 0:
            first = step - check_every + 1
            yield from health.add_losses(first, NAMES, run.rows(first, step))
        if step % probe_every == 0:
            yield from health.add_probe(run.probe_at(step))
        if spec.evaluation.enabled and step % spec.evaluation.every_steps == 0:
            yield from health.add_evaluation(run.evaluation_at(step))


HEALTHY: Final = SimulatedRun()
NOISE: Final = {**UNTRAINED, "diversity": 2.0}
CLASSES_LOST: Final = {**EVENLY, "Bag": 0.01}
ONE_CLASS_ALIKE: Final = {**dict.fromkeys(LABELS, 0.8), "Coat": 0.1}

# Each kind of failure with the code of the only finding that it must give.
FAILING: Final[dict[str, tuple[str, SimulatedRun]]] = {
    "low loss of D": ("vanishing_gradients", SimulatedRun({"loss_d": 0.03, "d_accuracy": 0.995})),
    "vanished gradient of G": (
        "vanishing_gradients",
        SimulatedRun({"loss_d": 1e-6, "d_accuracy": 1.2, "grad_norm_g": 0.001, "real_logit": 30, "fake_logit": -30}),
    ),
    "G dominates": (
        "generator_dominates",
        SimulatedRun({"loss_d": 4.0, "d_accuracy": 0.2, "real_logit": -0.1, "fake_logit": 4.0, "loss_g": 0.02}),
    ),
    "identical images": ("mode_collapse", SimulatedRun(probe={"diversity": 0.05, "class_diversity": {"Bag": 0.05}})),
    "duplicates in the grid": ("mode_collapse", SimulatedRun(probe={"duplicates": 0.7})),
    "low coverage": ("mode_collapse", SimulatedRun(evaluation={"coverage": 0.3})),
    "low recall": ("mode_collapse", SimulatedRun(evaluation={"coverage": 0.55, "recall": 0.02})),
    "identical images in an evaluation": ("mode_collapse", SimulatedRun(evaluation={"diversity": 0.1})),
    "identical images of a class": ("class_collapse", SimulatedRun(probe={"class_diversity": ONE_CLASS_ALIKE})),
    "identical images of a class in an evaluation": (
        "class_collapse",
        SimulatedRun(tables={"within_class_diversity": ONE_CLASS_ALIKE}),
    ),
    "a missing class": ("class_collapse", SimulatedRun(tables={"class_histogram": CLASSES_LOST})),
    "D ignores labels": (
        "conditioning_ignored",
        SimulatedRun(probe={"conditioning_margin": 0.0, "conditioning_swing": 0.0}),
    ),
    "G ignores labels": ("conditioning_ignored", SimulatedRun(evaluation={"label_accuracy": 0.12})),
    "uninformative labels": (
        "conditioning_ignored",
        SimulatedRun(evaluation={"label_accuracy": 0.11}, tables={"reference": {**REALS, "label_accuracy": 0.11}}),
    ),
    "equilibrium": (
        "equilibrium",
        SimulatedRun({"loss_d": 1.39, "d_accuracy": 0.5, "real_logit": 0.0, "fake_logit": 0.0, "loss_g": 0.7}),
    ),
    "past the best": ("past_best", SimulatedRun(evaluation={"fcd": 6.0})),
    "nothing learned": ("never_learned", SimulatedRun(evaluation=NOISE, from_step=1)),
    "large gradients": ("divergence", SimulatedRun({"grad_norm_d": 500.0})),
    "large loss of D": ("divergence", SimulatedRun({"loss_d": 30.0, "real_logit": -9.0, "fake_logit": -3.0})),
    "D overfits": ("discriminator_overfitting", SimulatedRun(probe={"overfitting_gap": 0.5})),
    "not finite": ("non_finite", SimulatedRun({"loss_g": float("nan")})),
}
