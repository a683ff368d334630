"""W1 to W4, each as a job of ours and as the plain networks that a peer's loop trains: one size, one game."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.plain import (
    PlainDiscriminator,
    PlainDrawer,
    PlainGenerator,
    PlainMlpDiscriminator,
    PlainMlpGenerator,
    PlainNetwork,
)

CLASSES: Final = 10


@dataclass(frozen=True)
class Workload:
    """One kind of training."""

    title: str
    batch_size: int
    job: dict[str, Any]
    """What is asked of ours, over `_ALONE`."""
    networks: Callable[[], tuple[PlainDrawer, PlainNetwork]]
    """(G, D), plain."""
    side: int = 32
    critic_updates: int = 0
    """Of WGAN-GP, a step; 0: the game of cross entropy, one update each."""
    rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)

    @property
    def images_a_step(self) -> int:
        """Real images shown to D."""
        return self.batch_size * max(1, self.critic_updates)


# Nothing but the steps and what watches over them: whatever else a job does has a price of its own.
_ALONE: Final[dict[str, Any]] = {
    "total_steps": 10_000_000,
    "ema": {"enabled": False},
    "evaluation": {"enabled": False},
    "previews": {"every_steps": 10_000_000},
    "checkpoints": {"every_steps": 10_000_000},
}
_ADAM: Final = {"learning_rate": 2e-4, "beta1": 0.5, "beta2": 0.999}
_CRITICS: Final = {"learning_rate": 1e-4, "beta1": 0.0, "beta2": 0.9}
_NO_LABELS: Final = {"conditioning": {"kind": "none"}}

WORKLOADS: Final[dict[str, Workload]] = {
    "W1": Workload(
        "DCGAN, 32x32x1, 64 channels, batch 64",
        64,
        {
            **_NO_LABELS,
            "generator": {"z_dim": 100, "base_channels": 64},
            "discriminator": {"base_channels": 64},
            "optimizers": {"g": _ADAM, "d": _ADAM},
        },
        lambda: (PlainGenerator(100, 64), PlainDiscriminator(64)),
    ),
    "W2": Workload(
        "the same with labels concatenated, 32 channels, batch 128",
        128,
        {
            "conditioning": {"kind": "concat", "generator": "concat", "embedding_dim": 32},
            "generator": {"z_dim": 100, "base_channels": 32},
            "discriminator": {"base_channels": 32},
            "optimizers": {"g": _ADAM, "d": _ADAM},
        },
        lambda: (PlainGenerator(100, 32, CLASSES), PlainDiscriminator(32, CLASSES)),
    ),
    "W3": Workload(
        "WGAN-GP, five critic updates, lambda 10, batch 64",
        64,
        {
            **_NO_LABELS,
            "generator": {"z_dim": 100, "base_channels": 64},
            "discriminator": {"base_channels": 64, "normalization": "none"},
            "loss": {"kind": "wasserstein"},
            "penalties": [{"kind": "gradient_penalty", "weight": 10.0}],
            "alternation": {"d_steps": 5, "g_steps": 1},
            "optimizers": {"g": _CRITICS, "d": _CRITICS},
        },
        lambda: (PlainGenerator(100, 64), PlainDiscriminator(64, batchnorm=False)),
        critic_updates=5,
        rate=1e-4,
        betas=(0.0, 0.9),
    ),
    "W4": Workload(
        "MLP 784-512-256, batch 128",
        128,
        {
            **_NO_LABELS,
            "generator": {"architecture": "mlp", "z_dim": 100, "hidden_units": 256},
            "discriminator": {"architecture": "mlp", "hidden_units": 512},
            "optimizers": {"g": _ADAM, "d": _ADAM},
        },
        lambda: (PlainMlpGenerator(100, 256), PlainMlpDiscriminator(512)),
        side=28,
    ),
}


def job_of(name: str, precision: str) -> dict[str, Any]:
    """Return the body of a job that only trains workload `name`, without previews or evaluations."""
    workload = WORKLOADS[name]
    fixed = {
        "batch_size": workload.batch_size,
        "resources": {"precision": precision},
        "dataset": "fashion-mnist-mini",
    }
    return {**_ALONE, **fixed, "preset": "cgan-concat", **workload.job}
