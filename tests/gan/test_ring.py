"""The ring of 8 Gaussians: one loss loses modes, which health reports; two losses with penalties cover all 8.

Networks, latents, batch size and data are the same in all three runs. Each has its own learning rates; with minimax,
G learns ten times faster than D.
"""

from __future__ import annotations

from typing import Any

import pytest

from gan.data import ImageDataset
from gan.events import Evaluated, HealthChanged
from gan.findings import HealthFinding, remedied
from gan.quality import features
from gan.quality.evaluate import EvaluationResult
from gan.quality.features import FeatureNet
from gan.spec import resolve
from gan.train import Trainer
from tests.gan.ring import MODES, modes_found, ring

DRAWN = 1_000


def adam(g: float, d: float, beta1: float, beta2: float) -> dict[str, Any]:
    """Return the optimizers of a spec with learning rates `g` and `d`."""
    moments = {"beta1": beta1, "beta2": beta2}
    return {"g": {"learning_rate": g, **moments}, "d": {"learning_rate": d, **moments}}


MINIMAX: dict[str, Any] = {
    "loss": {"kind": "minimax"},
    "optimizers": adam(1e-3, 1e-4, 0.5, 0.999),
    "total_steps": 600,
}
WGAN_GP: dict[str, Any] = {
    "loss": {"kind": "wasserstein"},
    "penalties": [{"kind": "gradient_penalty", "weight": 0.3}],
    "alternation": {"d_steps": 5},
    "optimizers": adam(2e-3, 2e-3, 0.0, 0.99),
    "total_steps": 400,
}
R1_R2: dict[str, Any] = {
    "loss": {"kind": "relativistic"},
    "penalties": [{"kind": "r1", "weight": 0.1}, {"kind": "r2", "weight": 0.1}],
    "optimizers": adam(2e-3, 2e-3, 0.0, 0.99),
    "total_steps": 800,
}


def body_of(changes: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a job on the ring."""
    steps = changes["total_steps"]
    return {
        "dataset": "ring",
        "conditioning": {"kind": "none"},
        "generator": {"architecture": "mlp", "hidden_units": 128, "z_dim": 2},
        "discriminator": {"architecture": "mlp", "hidden_units": 128},
        "batch_size": 64,
        "evaluation": {"every_steps": steps // 8, "images": 400},
        "safeguards": {"probe_every_steps": 100},
        "previews": {"every_steps": steps, "per_class": 1},
        "checkpoints": {"every_steps": steps},
        "resources": {"precision": "fp32"},
        **changes,
    }


@pytest.fixture(scope="module")
def points() -> ImageDataset:
    return ring()


@pytest.fixture(scope="module")
def net(points: ImageDataset) -> FeatureNet:
    return features.for_dataset(points)


def trained(
    changes: dict[str, Any], data: ImageDataset, net: FeatureNet
) -> tuple[Trainer, list[HealthFinding], EvaluationResult]:
    """Train to the end. Return the trainer, all findings, and the last evaluation."""
    trainer = Trainer(resolve(body_of(changes)), data, features=net)
    raised: list[HealthFinding] = []
    last = None
    for event in trainer.run():
        if isinstance(event, HealthChanged):
            raised += event.raised
        if isinstance(event, Evaluated):
            last = event.evaluation
    assert last is not None
    return trainer, raised, last


def modes_drawn(trainer: Trainer) -> int:
    """Return the number of modes among the samples of a trainer."""
    with trainer.sampling() as drawn:
        return modes_found(drawn.draw(None, list(range(DRAWN))))


def test_minimax_loses_modes_and_gives_a_finding(points: ImageDataset, net: FeatureNet) -> None:
    trainer, raised, last = trained(MINIMAX, points, net)
    assert modes_drawn(trainer) <= 2
    assert last.metrics["coverage"] < 0.1
    assert trainer.health.verdict == "failing"
    collapse = next(finding for finding in raised if finding.code == "mode_collapse")
    assert collapse.severity == "critical"
    assert {e.metric for e in collapse.evidence} & {"diversity", "duplicates"}
    assert resolve(remedied(body_of(MINIMAX), collapse)).generator.z_dim > 2


@pytest.mark.parametrize("changes", [WGAN_GP, R1_R2], ids=["wgan-gp", "r1-r2"])
def test_a_penalised_critic_covers_all_modes_without_findings(
    changes: dict[str, Any], points: ImageDataset, net: FeatureNet
) -> None:
    trainer, raised, last = trained(changes, points, net)
    assert modes_drawn(trainer) == MODES
    assert last.metrics["coverage"] > 0.3
    assert min(last.class_histogram.values()) > 0.05
    assert [finding.code for finding in raised if finding.severity != "info"] == []
    assert trainer.health.verdict == "healthy"
