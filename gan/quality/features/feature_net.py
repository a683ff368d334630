"""A feature network in use: its outputs for uint8 images, and the facts that identify it."""

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
from gan.quality.features.modules import Convolutions, FeatureOutput, Pixels

Task = Literal["classes", "rotations", "nearest_mean", "none"]


@dataclass(frozen=True)
class FeatureNetInfo:
    """How a network was trained, as plain values."""

    task: Task
    """The task that it learned: to classify classes or rotations; for tiny images, the nearest class mean or none."""
    accuracy: float | None
    """Its accuracy in that task on images that it was not trained on, 0..1; None for the task "none"."""
    measured_on: int
    """The number of these images."""
    trained_on: str
    """The name of the data set."""
    trained_on_sha256: str
    recipe: int
    """`gan.quality.features.recipe.VERSION`."""
    channels: int
    side: int
    """The larger side of the images, in pixels."""
    outputs: int
    """The number of logits."""
    sha256: str
    """The digest of the weights."""


@dataclass(frozen=True, eq=False)
class FeatureNet:
    """A feature network in eval mode, and the moments of the features of all training images."""

    network: Convolutions | Pixels
    about: FeatureNetInfo
    real: Moments
    """The moments of the features of all training images, on the CPU."""
    folder: Path | None = None
    """The folder in which metrics of real images are cached; None for no cache."""

    @property
    def predicts_classes(self) -> bool:
        """Whether its logits are those of the data set's classes."""
        return self.about.task in ("classes", "nearest_mean")

    def to(self, device: torch.device | str) -> FeatureNet:
        """Return the same feature network on `device`."""
        return replace(self, network=self.network.to(device))

    def outputs(self, images: Tensor) -> FeatureOutput:
        """Return features and logits, on the CPU, of uint8 images (N, C, H, W) on any device."""
        return network_outputs(self.network, images)

    def cached_metrics(self, name: str, compute: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Return metrics of real images by name: from the cache, or computed and written to the cache."""
        if self.folder is None:
            return compute()
        path = self.folder / f"{self.about.sha256}-{name}.json"
        try:
            metrics: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            metrics = compute()
            store.replace(path, json.dumps(metrics).encode())
        return metrics


def network_outputs(network: Convolutions | Pixels, images: Tensor) -> FeatureOutput:
    """Return features and logits, on the CPU, of uint8 images (N, C, H, W), computed on the network's device."""
    device = next(iter(network.state_dict().values())).device
    parts = []
    # Without TF32, which would round features on a GPU to three digits.
    with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False, deterministic=True, benchmark=False):
        for part in torch.split(images, recipe.ROWS):
            outputs = network(recipe.network_input(network, part.to(device)))
            parts.append(FeatureOutput(outputs.features.cpu(), outputs.logits.cpu()))
    return FeatureOutput(torch.cat([p.features for p in parts]), torch.cat([p.logits for p in parts]))
