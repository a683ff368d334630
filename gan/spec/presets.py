"""The presets: named specs, each given by its differences from the defaults of `TrainSpec`.

docs/presets.md compares the numbers of each preset with the authors' own and gives the reason for each difference.
This module imports pydantic only, so that `api` and `jobs` can list presets without loading torch.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict


class Preset(BaseModel):
    """A named starting point: the fields that it sets, its paper, and a sentence on its use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    summary: str
    paper: str
    reach: str = ""
    """The quality that it should reach under the protocol of docs/quality.md."""
    overrides: dict[str, Any]
    """The fields, nested like the body of `POST /v1/jobs`. They override the defaults, and the user's fields override
    them."""


Overrides = dict[str, Any]


def _adam(learning_rate: float, beta1: float, beta2: float, **more: Any) -> Overrides:
    return {"learning_rate": learning_rate, "beta1": beta1, "beta2": beta2, **more}


def _both(optimizer: Overrides) -> Overrides:
    return {"g": optimizer, "d": optimizer}


DEFAULT_PRESET: Final = "cgan"

_ADAM_DCGAN: Final = _adam(2e-4, 0.5, 0.999)
# For long runs: evaluations are rare enough to cost almost nothing and frequent enough to find the best step.
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
_GOODFELLOW: Final[Overrides] = {
    **_LONG,
    **_UNCONDITIONAL,
    "generator": {"architecture": "mlp", "z_dim": 100, "z_distribution": "uniform"},
    "discriminator": {"architecture": "mlp"},
    "optimizers": _both(_ADAM_DCGAN),
    # Algorithm 1 draws new noise for the update of G.
    "alternation": {"fakes": "fresh"},
    "batch_size": 128,
    "ema": {"enabled": False},
}
_CRITIC: Final[Overrides] = {"base_channels": 64, "normalization": "none"}
_FIVE_TO_ONE: Final[Overrides] = {"d_steps": 5, "g_steps": 1}
_ATTENTION: Final[Overrides] = {"self_attention": True, "attention_pooling": True}

PRESETS: Final[dict[str, Preset]] = {
    "cgan": Preset(
        title="Conditional DCGAN",
        summary="The default. It draws recognisable images of each class after a minute on a CPU. G gets the label "
        "as conditional BatchNorm and D as a projection, which is newer and better than concat. Its numbers are "
        "tuned here.",
        paper="Mirza and Osindero 2014, arXiv:1411.1784; Radford et al. 2015, arXiv:1511.06434; Miyato and Koyama "
        "2018, arXiv:1802.05637",
        overrides={
            "conditioning": {"kind": "projection", "generator": "conditional_batch_norm"},
            "optimizers": _both(_adam(6e-4, 0.5, 0.999, schedule="cosine", final_factor=0.1)),
        },
    ),
    "cgan-concat": Preset(
        title="Conditional DCGAN, as in the first paper",
        summary="The label's embedding is appended to z and, as a channel, to the image. It learns the classes "
        "quickly, with less variety within each.",
        paper="Mirza and Osindero 2014, arXiv:1411.1784, figure 1; Radford et al. 2015, arXiv:1511.06434",
        overrides={"conditioning": {"kind": "concat", "generator": "concat"}},
    ),
    "dcgan": Preset(
        title="DCGAN",
        summary="The convolutional GAN of the paper, without labels: the baseline for comparisons.",
        paper="Radford et al. 2015, arXiv:1511.06434",
        overrides=_DCGAN,
    ),
    "goodfellow2014": Preset(
        title="The first GAN, minimax",
        summary="Fully connected networks with the minimax loss of equation 1: G's gradient vanishes when D "
        "dominates.",
        paper="Goodfellow et al. 2014, arXiv:1406.2661, equation 1",
        overrides={**_GOODFELLOW, "loss": {"kind": "minimax"}},
    ),
    "goodfellow2014-ns": Preset(
        title="The first GAN, non-saturating",
        summary="The same networks with the non-saturating loss of section 3: G has a gradient even when D "
        "dominates.",
        paper="Goodfellow et al. 2014, arXiv:1406.2661, section 3",
        overrides={**_GOODFELLOW, "loss": {"kind": "non_saturating"}},
    ),
    "stabilised": Preset(
        title="DCGAN with the usual tips",
        summary="Label smoothing, decreasing instance noise and two learning rates: it fails less often than dcgan, "
        "but its images are not better.",
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
        summary="Squared errors in place of logarithms: G also learns from fakes that D rejects with certainty.",
        paper="Mao et al. 2017, arXiv:1611.04076",
        overrides={**_DCGAN, "loss": {"kind": "least_squares"}},
    ),
    "wgan": Preset(
        title="Wasserstein GAN with weight clipping",
        summary="A critic whose loss follows the quality of the images. It is slow, and clipping limits its "
        "capacity; wgan-gp is the successor.",
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
        summary="It covers all modes and rarely fails. Five updates of the critic per step make it slow.",
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
        "label smoothing together. It works, but is mainly of historical interest.",
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
        summary="D also predicts the class: the classes are distinct, with less variety within each.",
        paper="Odena et al. 2017, arXiv:1610.09585",
        overrides={**_DCGAN, "conditioning": {"kind": "class_head"}},
    ),
    "sngan-projection": Preset(
        title="Spectral normalisation with projection",
        summary="Residual networks, conditional BatchNorm, and a projection discriminator with spectral norm: "
        "training is stable. It is narrower than the 128 to 256 channels of the paper, so that a CPU can train it.",
        paper="Miyato et al. 2018, arXiv:1802.05957; Miyato and Koyama 2018, arXiv:1802.05637",
        overrides={
            **_LONG,
            "generator": {"architecture": "resnet", "z_dim": 128},
            "discriminator": {"architecture": "resnet", "spectral_norm": True, "inner_channels": "input"},
            "conditioning": {"kind": "projection", "generator": "conditional_batch_norm"},
            "loss": {"kind": "hinge"},
            "optimizers": _both(_adam(2e-4, 0.0, 0.9, schedule="linear", final_factor=0.0)),
            "alternation": _FIVE_TO_ONE,
        },
    ),
    "sagan": Preset(
        title="Self-attention GAN",
        summary="Like sngan-projection, with self-attention, spectral norm in G and D, and two learning rates.",
        paper="Zhang et al. 2019, arXiv:1805.08318",
        overrides={
            **_LONG,
            "generator": {"architecture": "resnet", "z_dim": 128, "spectral_norm": True, **_ATTENTION},
            "discriminator": {"architecture": "resnet", "spectral_norm": True, **_ATTENTION},
            "conditioning": {"kind": "projection", "generator": "conditional_batch_norm"},
            "loss": {"kind": "hinge"},
            "optimizers": {"g": _adam(1e-4, 0.0, 0.9), "d": _adam(4e-4, 0.0, 0.9)},
        },
    ),
    "r3gan-small": Preset(
        title="R3GAN, reduced",
        summary="Relativistic pairing with R1 and R2, without normalisation or further techniques: a modern "
        "baseline, and slow.",
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
