"""Named, documented starting points: each is what it changes of `TrainSpec`'s own defaults.

Imports nothing but pydantic, so that the face and the record can list presets without loading torch.
Numbers are the papers' own unless the sentence says that we tuned them.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict


class Preset(BaseModel):
    """A starting point: the fields it sets, the paper it comes from, and a sentence on when to take it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    summary: str
    paper: str
    overrides: dict[str, Any]
    """Nested like the POST body; laid over the defaults of `TrainSpec`, below what the user sends."""


DEFAULT_PRESET: Final = "cgan"

_ADAM_DCGAN: Final[dict[str, Any]] = {"learning_rate": 2e-4, "beta1": 0.5, "beta2": 0.999}
_MLP_GAME: Final[dict[str, Any]] = {
    "conditioning": {"kind": "none"},
    "generator": {"architecture": "mlp", "z_dim": 100, "z_distribution": "uniform"},
    "discriminator": {"architecture": "mlp"},
    "optimizers": {"g": _ADAM_DCGAN, "d": _ADAM_DCGAN},
    "batch_size": 128,
    "total_steps": 20_000,
    "ema": {"enabled": False},
}

PRESETS: Final[dict[str, Preset]] = {
    "cgan": Preset(
        title="Conditional DCGAN",
        summary="Draws a class by its label; quick on a CPU. The default: its numbers are tuned here, not a paper's.",
        paper="Mirza and Osindero 2014, arXiv:1411.1784; Radford et al. 2015, arXiv:1511.06434",
        overrides={},
    ),
    "dcgan": Preset(
        title="DCGAN",
        summary="The convolutional GAN of the paper, without labels: the plain yardstick.",
        paper="Radford et al. 2015, arXiv:1511.06434",
        overrides={
            "conditioning": {"kind": "none"},
            "generator": {"z_dim": 100, "base_channels": 64},
            "discriminator": {"base_channels": 64},
            "optimizers": {"g": _ADAM_DCGAN, "d": _ADAM_DCGAN},
            "batch_size": 128,
            "total_steps": 20_000,
            "ema": {"enabled": False},
        },
    ),
    "goodfellow2014": Preset(
        title="The first GAN, minimax",
        summary="Fully connected networks and the minimax game of equation 1: G's gradient fades when D wins.",
        paper="Goodfellow et al. 2014, arXiv:1406.2661, equation 1",
        overrides={**_MLP_GAME, "loss": {"kind": "minimax"}},
    ),
    "goodfellow2014-ns": Preset(
        title="The first GAN, non-saturating",
        summary="The same networks with the non-saturating G loss of section 3: a gradient even when D wins.",
        paper="Goodfellow et al. 2014, arXiv:1406.2661, section 3",
        overrides={**_MLP_GAME, "loss": {"kind": "non_saturating"}},
    ),
}
