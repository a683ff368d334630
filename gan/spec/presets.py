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
    reach: str = ""
    """The figure it should reach under our protocol; docs/quality.md holds the whole table."""
    overrides: dict[str, Any]
    """Nested like the POST body; laid over the defaults of `TrainSpec`, below what the user sends."""


Overrides = dict[str, Any]


def _adam(learning_rate: float, beta1: float, beta2: float, **more: Any) -> Overrides:
    return {"learning_rate": learning_rate, "beta1": beta1, "beta2": beta2, **more}


def _both(optimizer: Overrides) -> Overrides:
    return {"g": optimizer, "d": optimizer}


DEFAULT_PRESET: Final = "cgan"

_ADAM_DCGAN: Final = _adam(2e-4, 0.5, 0.999)
# Of a long run: looks seldom enough that they cost nothing, often enough that the best moment is caught.
_LONG: Final[Overrides] = {
    "total_steps": 20_000,
    "previews": {"every_steps": 500},
    "evaluation": {"every_steps": 1_000},
    "checkpoints": {"every_steps": 1_000},
}
_UNCONDITIONAL: Final[Overrides] = {"conditioning": {"kind": "none"}}
_DCGAN: Final[Overrides] = {
    **_LONG,
    **_UNCONDITIONAL,
    "generator": {"z_dim": 100, "base_channels": 64},
    "discriminator": {"base_channels": 64},
    "optimizers": _both(_ADAM_DCGAN),
    "batch_size": 128,
    "ema": {"enabled": False},
}
_MLP_GAME: Final[Overrides] = {
    **_LONG,
    **_UNCONDITIONAL,
    "generator": {"architecture": "mlp", "z_dim": 100, "z_distribution": "uniform"},
    "discriminator": {"architecture": "mlp"},
    "optimizers": _both(_ADAM_DCGAN),
    "batch_size": 128,
    "ema": {"enabled": False},
}
_CRITIC: Final[Overrides] = {"base_channels": 64, "normalization": "none"}
_FIVE_TO_ONE: Final[Overrides] = {"d_steps": 5, "g_steps": 1}

PRESETS: Final[dict[str, Preset]] = {
    "cgan": Preset(
        title="Conditional DCGAN",
        summary="Draws a class by its label, after a minute on a CPU. The default: its numbers are tuned here, and "
        "the label enters as conditional BatchNorm in G and as a projection in D, later and better than concat.",
        paper="Mirza and Osindero 2014, arXiv:1411.1784; Radford et al. 2015, arXiv:1511.06434; Miyato and Koyama "
        "2018, arXiv:1802.05637",
        overrides={
            "conditioning": {"kind": "projection", "generator": "conditional_batch_norm"},
            "optimizers": _both(_adam(6e-4, 0.5, 0.999, schedule="cosine", final_factor=0.1)),
        },
    ),
    "cgan-concat": Preset(
        title="Conditional DCGAN, as in the first paper",
        summary="The label's embedding is joined to z and, as a channel, to the image: learns the classes at once, "
        "and less variety within each.",
        paper="Mirza and Osindero 2014, arXiv:1411.1784, figure 1; Radford et al. 2015, arXiv:1511.06434",
        overrides={"conditioning": {"kind": "concat", "generator": "concat"}},
    ),
    "dcgan": Preset(
        title="DCGAN",
        summary="The convolutional GAN of the paper, without labels: the plain yardstick.",
        paper="Radford et al. 2015, arXiv:1511.06434",
        overrides=_DCGAN,
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
    "stabilised": Preset(
        title="DCGAN with the usual tips",
        summary="Smoothed labels, fading instance noise and two learning rates: less prone to fail, not better.",
        paper="Salimans et al. 2016, arXiv:1606.03498, section 3.4; Soenderby et al. 2017, arXiv:1610.04490; "
        "Heusel et al. 2017, arXiv:1706.08500",
        overrides={
            **_DCGAN,
            "optimizers": {"g": _adam(1e-4, 0.5, 0.999), "d": _adam(4e-4, 0.5, 0.999)},
            "stabilizers": {"real_label": 0.9, "fake_label": 0.1, "instance_noise": 0.1, "instance_noise_until": 0.5},
        },
    ),
    "lsgan": Preset(
        title="Least-squares GAN",
        summary="Squares in place of logarithms: G learns even from fakes that D is sure of.",
        paper="Mao et al. 2017, arXiv:1611.04076",
        overrides={**_DCGAN, "loss": {"kind": "least_squares"}},
    ),
    "wgan": Preset(
        title="Wasserstein GAN with weight clipping",
        summary="A critic whose loss follows quality; slow, and clipping wastes its capacity: wgan-gp is its heir.",
        paper="Arjovsky et al. 2017, arXiv:1701.07875, algorithm 1",
        overrides={
            **_DCGAN,
            "discriminator": _CRITIC,
            "loss": {"kind": "wasserstein"},
            "stabilizers": {"weight_clip": 0.01},
            "optimizers": _both({"kind": "rmsprop", "learning_rate": 5e-5, "beta2": 0.99}),
            "alternation": _FIVE_TO_ONE,
            "batch_size": 64,
        },
    ),
    "wgan-gp": Preset(
        title="Wasserstein GAN with gradient penalty",
        summary="Finds all modes and hardly ever fails; five critic updates a step make it slow.",
        paper="Gulrajani et al. 2017, arXiv:1704.00028, algorithm 1",
        overrides={
            **_DCGAN,
            "discriminator": _CRITIC,
            "loss": {"kind": "wasserstein"},
            "penalties": [{"kind": "gradient_penalty", "weight": 10.0}],
            "optimizers": _both(_adam(1e-4, 0.0, 0.9)),
            "alternation": _FIVE_TO_ONE,
            "batch_size": 64,
        },
    ),
    "improved-gan": Preset(
        title="Improved techniques",
        summary="Feature matching, minibatch discrimination, historical averaging, virtual batch norm and one-sided "
        "smoothing together: a museum that works.",
        paper="Salimans et al. 2016, arXiv:1606.03498",
        overrides={
            **_DCGAN,
            "generator": {"z_dim": 100, "base_channels": 64, "normalization": "virtual_batch"},
            "discriminator": {"base_channels": 64, "minibatch_features": 32},
            "stabilizers": {"real_label": 0.9, "feature_matching": True, "historical_averaging": 1e-4},
            "optimizers": _both(_adam(3e-4, 0.5, 0.999)),
            "batch_size": 64,
        },
    ),
    "acgan": Preset(
        title="Auxiliary classifier GAN",
        summary="D also names the class: crisp classes, at some cost in variety within each.",
        paper="Odena et al. 2017, arXiv:1610.09585",
        overrides={**_DCGAN, "conditioning": {"kind": "class_head"}},
    ),
    "sngan-projection": Preset(
        title="Spectral normalisation with projection",
        summary="Residual networks, conditional BatchNorm, a projecting D held Lipschitz: steady. Narrower than the "
        "paper's 128 to 256 channels, so that a CPU can train it.",
        paper="Miyato et al. 2018, arXiv:1802.05957; Miyato and Koyama 2018, arXiv:1802.05637",
        overrides={
            **_LONG,
            "generator": {"architecture": "resnet", "z_dim": 128},
            "discriminator": {"architecture": "resnet", "spectral_norm": True},
            "conditioning": {"kind": "projection", "generator": "conditional_batch_norm"},
            "loss": {"kind": "hinge"},
            "optimizers": _both(_adam(2e-4, 0.0, 0.9, schedule="linear", final_factor=0.0)),
            "alternation": _FIVE_TO_ONE,
        },
    ),
    "sagan": Preset(
        title="Self-attention GAN",
        summary="The same with attention over the whole image, spectral norm in both players and two learning rates.",
        paper="Zhang et al. 2019, arXiv:1805.08318",
        overrides={
            **_LONG,
            "generator": {"architecture": "resnet", "z_dim": 128, "spectral_norm": True, "self_attention": True},
            "discriminator": {"architecture": "resnet", "spectral_norm": True, "self_attention": True},
            "conditioning": {"kind": "projection", "generator": "conditional_batch_norm"},
            "loss": {"kind": "hinge"},
            "optimizers": {"g": _adam(1e-4, 0.0, 0.9), "d": _adam(4e-4, 0.0, 0.9)},
        },
    ),
    "r3gan-small": Preset(
        title="R3GAN, reduced",
        summary="Relativistic pairs with R1 and R2, no normalisation and no tricks: the modern baseline, slow.",
        paper="Huang et al. 2024, arXiv:2501.05441",
        overrides={
            **_LONG,
            "generator": {"architecture": "r3gan", "z_dim": 64},
            "discriminator": {"architecture": "r3gan"},
            "conditioning": {"kind": "projection"},
            "loss": {"kind": "relativistic"},
            "penalties": [
                {"kind": "r1", "weight": 1.0, "schedule": "cosine", "final_factor": 0.1},
                {"kind": "r2", "weight": 1.0, "schedule": "cosine", "final_factor": 0.1},
            ],
            "optimizers": _both(_adam(6e-4, 0.0, 0.99, schedule="cosine", final_factor=0.25)),
            "ema": {"half_life_images": 20_000},
        },
    ),
}
