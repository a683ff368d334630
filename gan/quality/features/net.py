"""A feature network in use: what it says of uint8 images, and what must be known of it to read a figure."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from gan.quality.distances import Moments
from gan.quality.features import recipe, store
from gan.quality.features.network import Convolutions, FeatureOutput, Pixels

Task = Literal["classes", "rotations", "nearest_mean", "none"]


@dataclass(frozen=True)
class FeatureNetInfo:
    """Where a network comes from. Plain values."""

    task: Task
    """What it learned to tell: classes, rotations; of tiny images the nearest class mean, or nothing."""
    accuracy: float | None
    """At that, on images that it did not learn from, 0..1; None where there is nothing to tell."""
    measured_on: int
    """How many images that were."""
    trained_on: str
    """Name of the data set."""
    trained_on_sha256: str
    recipe: int
    """`gan.quality.features.recipe.VERSION`."""
    channels: int
    side: int
    outputs: int
    sha256: str
    """Over the weights."""


@dataclass(frozen=True, eq=False)
class FeatureNet:
    """A network in eval mode, and the training images as it sees them."""

    network: Convolutions | Pixels
    about: FeatureNetInfo
    real: Moments
    """Of the features of all training images; on the CPU."""
    folder: Path | None = None
    """Where figures of real images that rest on it may be kept."""

    @property
    def tells_classes(self) -> bool:
        """Whether its logits are of the data set's classes."""
        return self.about.task in ("classes", "nearest_mean")

    def to(self, device: torch.device | str) -> FeatureNet:
        """The same on `device`."""
        return replace(self, network=self.network.to(device))

    def see(self, images: Tensor) -> FeatureOutput:
        """Features and logits, on the CPU, of uint8 images (N, C, H, W) on any device."""
        return see(self.network, images)

    def remember(self, name: str, compute: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Figures of real images by name: from `folder` where they are, else computed, and kept there."""
        if self.folder is None:
            return compute()
        path = self.folder / f"{self.about.sha256}-{name}.json"
        try:
            known: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = compute()
            store.replace(path, json.dumps(known).encode())
        return known


def see(network: Convolutions | Pixels, images: Tensor) -> FeatureOutput:
    """Features and logits, on the CPU, of uint8 images (N, C, H, W); computed where the network is."""
    device = next(iter(network.state_dict().values())).device
    parts = []
    # TF32 would round the features of a GPU to three digits.
    with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False, deterministic=True, benchmark=False):
        for part in torch.split(images, recipe.ROWS):
            seen = network(recipe.seen_as(network, part.to(device)))
            parts.append(FeatureOutput(seen.features.cpu(), seen.logits.cpu()))
    return FeatureOutput(torch.cat([p.features for p in parts]), torch.cat([p.logits for p in parts]))
