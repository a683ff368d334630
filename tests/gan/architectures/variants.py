"""Specs that together have every family, norm, conditioning and optional layer."""

from __future__ import annotations

from typing import Any

from gan.spec.catalog import DatasetClass, DatasetInfo

CLASSES = tuple(DatasetClass(id=i, label=str(i), count=5) for i in range(3))


def info(side: int, channels: int) -> DatasetInfo:
    """Return a data set of images of `side` x `side` in three classes."""
    return DatasetInfo(name="x", num_images=15, channels=channels, height=side, width=side, classes=CLASSES)


def both(architecture: str, **more: Any) -> dict[str, Any]:
    """Return G and D of one family, with the fields `more` in both."""
    part = {"architecture": architecture, **more}
    return {"generator": part, "discriminator": part}


def _with(changes: dict[str, Any], g: dict[str, Any], d: dict[str, Any]) -> dict[str, Any]:
    return {**changes, "generator": {**changes["generator"], **g}, "discriminator": {**changes["discriminator"], **d}}


_PROJECTION = {"conditioning": {"kind": "projection", "generator": "conditional_batch_norm"}}

VARIANTS: dict[str, dict[str, Any]] = {
    "dcgan": both("dcgan"),
    "dcgan-conditional-norm": {**_PROJECTION, **both("dcgan")},
    "dcgan-virtual": _with(both("dcgan"), {"normalization": "virtual_batch"}, {"normalization": "layer"}),
    "dcgan-virtual-alone": {
        "conditioning": {"kind": "none"},
        **_with(both("dcgan"), {"normalization": "virtual_batch"}, {"minibatch_features": 4}),
    },
    "dcgan-spectral": {
        "conditioning": {"kind": "class_head"},
        **both("dcgan", normalization="none", spectral_norm=True, self_attention=True),
    },
    "mlp": _with(both("mlp"), {"spectral_norm": True}, {}),
    "mlp-minibatch": {
        "conditioning": {"kind": "projection"},
        **_with(both("mlp"), {}, {"spectral_norm": True, "minibatch_features": 4}),
    },
    "resnet": both("resnet"),
    "resnet-sngan": {**_PROJECTION, **_with(both("resnet", spectral_norm=True), {}, {"inner_channels": "input"})},
    "resnet-sagan": {
        **_PROJECTION,
        **both("resnet", spectral_norm=True, self_attention=True, attention_pooling=True),
    },
    "r3gan": {"conditioning": {"kind": "projection"}, **both("r3gan")},
    "r3gan-alone": {"conditioning": {"kind": "none"}, **both("r3gan")},
    "resnet-and-dcgan": {
        "conditioning": {"kind": "class_head"},
        "generator": {"architecture": "resnet"},
        "discriminator": {"normalization": "none"},
    },
}
# The variants whose D treats each image by itself, also in train mode.
D_IS_PER_IMAGE = [
    name
    for name in VARIANTS
    if name not in {"dcgan", "dcgan-conditional-norm", "dcgan-virtual-alone", "mlp-minibatch"}
]
# The variants whose G draws each image by itself, also in train mode.
G_IS_PER_IMAGE = [
    "dcgan-virtual",
    "dcgan-virtual-alone",
    "dcgan-spectral",
    "mlp",
    "mlp-minibatch",
    "r3gan",
    "r3gan-alone",
]
