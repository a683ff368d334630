"""The ring of 8 Gaussians: points of the plane as images of 1 x 2 pixels, on which the real trainer can train.

A pixel is a coordinate in [-1, 1]; the classes are the eight modes. Metz et al. 2017 (arXiv:1611.02163, section 3.3).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

from gan.data import ImageDataset
from gan.spec.catalog import DatasetClass, DatasetInfo

MODES = 8
RADIUS, DEVIATION = 0.7, 0.03
PER_MODE = 400
CENTRES = torch.tensor(
    [[RADIUS * math.cos(2 * math.pi * i / MODES), RADIUS * math.sin(2 * math.pi * i / MODES)] for i in range(MODES)]
)


def ring(seed: int = 0) -> ImageDataset:
    """Return 3,200 points, 400 per mode."""
    source = torch.Generator().manual_seed(seed)
    labels = torch.arange(MODES).repeat(PER_MODE)
    points = CENTRES[labels] + DEVIATION * torch.randn(MODES * PER_MODE, 2, generator=source)
    pixels = ((points + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
    classes = tuple(DatasetClass(id=i, label=f"mode {i}", count=PER_MODE) for i in range(MODES))
    info = DatasetInfo(name="ring", num_images=len(labels), channels=1, height=1, width=2, classes=classes)
    return ImageDataset(info, pixels.view(-1, 1, 1, 2), labels)


def modes_found(images: npt.NDArray[np.uint8], least: float = 0.02) -> int:
    """Return how many modes have at least the share `least` of images (N, 1, 2, 1) within 4 standard deviations."""
    points = torch.from_numpy(images.reshape(-1, 2).astype(np.float32)) / 127.5 - 1.0
    distances = torch.cdist(points, CENTRES)
    nearest = distances.argmin(1)[distances.min(1).values < 4 * DEVIATION]
    return int((torch.bincount(nearest, minlength=MODES) >= least * len(points)).sum())
