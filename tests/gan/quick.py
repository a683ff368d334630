"""Specs that train in milliseconds, and a small data set; the process of `test_resume.py` uses them, too."""

from __future__ import annotations

from typing import Any

import torch

from gan.data import ImageDataset
from gan.spec import TrainSpec, resolve
from gan.spec.catalog import DatasetClass, DatasetInfo
from gan.spec.presets import PRESETS

SMALL: dict[str, Any] = {
    "dataset": "fashion-mnist-mini",
    # Networks of every family can use the label in this way.
    "preset": "cgan-concat",
    "total_steps": 4,
    "batch_size": 6,
    "generator": {"base_channels": 4, "z_dim": 8},
    "discriminator": {"base_channels": 4},
    "previews": {"per_class": 2},
    # Results that are compared bit for bit must not depend on the hardware.
    "resources": {"precision": "fp32"},
    # An evaluation needs a feature network; tests of evaluations switch it on.
    "evaluation": {"enabled": False},
}


def quick_spec(**changes: Any) -> TrainSpec:
    """Return the spec of `SMALL` merged with `changes`, field by field; an mlp gets few units."""
    body = dict(SMALL)
    preset = PRESETS[changes.get("preset", SMALL["preset"])].overrides
    for network in ("generator", "discriminator"):
        asked, given = changes.get(network, {}), preset.get(network, {})
        if asked.get("architecture", given.get("architecture")) == "mlp":
            body[network] = {k: v for k, v in SMALL[network].items() if k != "base_channels"} | {"hidden_units": 16}
    for name, value in changes.items():
        under = body.get(name)
        body[name] = {**under, **value} if isinstance(under, dict) and isinstance(value, dict) else value
    return resolve(body)


def three_shapes() -> ImageDataset:
    """Return 60 images of 12 x 14 in three classes, each with its own pattern, from a fixed seed."""
    source = torch.Generator().manual_seed(3)
    labels = torch.arange(3).repeat(20)
    images = torch.randint(0, 60, (60, 1, 12, 14), generator=source, dtype=torch.uint8)
    for class_id in range(3):
        images[labels == class_id, :, class_id * 4 : class_id * 4 + 3] = 220
    classes = tuple(DatasetClass(id=i, label=name, count=20) for i, name in enumerate(("top", "middle", "low")))
    info = DatasetInfo(name="shapes", num_images=60, channels=1, height=12, width=14, classes=classes)
    return ImageDataset(info=info, images=images, labels=labels)
