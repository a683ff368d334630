"""What D sees of an image: noise and differentiable augmentation, on reals and fakes alike, in both phases.

Instance noise: Soenderby et al. 2017, arXiv:1610.04490, section 2.3. DiffAugment: Zhao et al. 2020, arXiv:2006.10738,
section 3.2 and table 1: color, translation by an eighth of the side, cutout of half the side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from gan.randomness import Draws
from gan.spec.fields import Augmentation

_BLACK: Final = -1.0


def seen_by_d(images: Tensor, kinds: Sequence[Augmentation], noise: float, draws: Draws) -> Tensor:
    """(N, C, S, S) in [-1, 1] -> the same shape, augmented, then with N(0, noise) added. Off, it draws nothing."""
    for kind in kinds:
        images = _AUGMENTATIONS[kind](images, draws)
    if noise > 0:
        images = images + noise * draws.normal(*images.shape)
    return images


def color(images: Tensor, draws: Draws) -> Tensor:
    """Brightness + U(-1/2, 1/2); saturation times U(0, 2) about the pixel's grey; contrast times U(1/2, 3/2)."""
    brightness, saturation, contrast = (_uniform(images, draws) for _ in range(3))
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (2.0 * saturation) + grey
    middle = images.mean((1, 2, 3), keepdim=True)
    return (images - middle) * (0.5 + contrast) + middle


def translation(images: Tensor, draws: Draws) -> Tensor:
    """Moved by up to an eighth of the side each way; what comes in from outside is black."""
    side = images.shape[2]
    reach = max(1, side // 8)
    padded = torch.nn.functional.pad(images, (reach, reach, reach, reach), value=_BLACK)
    rows, columns = (_whole(images, 2 * reach + 1, draws) + torch.arange(side, device=images.device) for _ in "hw")
    each = torch.arange(len(images), device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(images: Tensor, draws: Draws) -> Tensor:
    """A square of half the side set to grey (0); its centre may be anywhere, so part of it may lie outside."""
    side = images.shape[2]
    place = torch.arange(side, device=images.device)
    rows, columns = ((place - _whole(images, side, draws)).abs() <= side // 4 for _ in "hw")
    hole = rows[:, None, :, None] & columns[:, None, None, :]
    return images.masked_fill(hole, 0.0)


def _uniform(images: Tensor, draws: Draws) -> Tensor:
    """U(0, 1), one an image, (N, 1, 1, 1)."""
    return draws.uniform(len(images), 1, 1, 1)


def _whole(images: Tensor, below: int, draws: Draws) -> Tensor:
    """A whole number in 0..below-1, one an image, (N, 1)."""
    return draws.whole(below, len(images), 1)


_AUGMENTATIONS: Final[dict[Augmentation, Callable[[Tensor, Draws], Tensor]]] = {
    "color": color,
    "translation": translation,
    "cutout": cutout,
}
