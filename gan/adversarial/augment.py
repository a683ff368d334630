"""Noise and differentiable augmentation of all images that D gets: of reals and of fakes, in updates of D and of G.

Instance noise: Soenderby et al. 2017, arXiv:1610.04490, section 2.3. DiffAugment: Zhao et al. 2020, arXiv:2006.10738,
section 3.2. The paper leaves the rounding, the fill and the border of cutout open: there, each kind follows the
authors' code, `DiffAugment_pytorch.py` of github.com/mit-han-lab/data-efficient-gans.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from gan.randomness import Draws
from gan.spec.fields import Augmentation


def augment(images: Tensor, kinds: Sequence[Augmentation], noise: float, draws: Draws) -> Tensor:
    """Return images (N, C, S, S) in [-1, 1] augmented by each of `kinds` in turn, plus noise from N(0, noise^2).

    Without kinds and without noise it returns `images` itself and draws no random number.
    """
    for kind in kinds:
        images = _AUGMENTATIONS[kind](images, draws)
    if noise > 0:
        images = images + noise * draws.normal(*images.shape)
    return images


def color(images: Tensor, draws: Draws) -> Tensor:
    """Change the colors of each image of (N, C, S, S).

    Brightness changes by U(-1/2, 1/2), saturation by a factor from U(0, 2) around the grey value of the pixel,
    contrast by a factor from U(1/2, 3/2) around the mean of the image.
    """
    brightness, saturation, contrast = (_uniform(images, draws) for _ in range(3))
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (2.0 * saturation) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (0.5 + contrast) + mean


def translation(images: Tensor, draws: Draws) -> Tensor:
    """Shift each image of (N, C, S, S) by up to S/8 pixels, rounded, in both directions.

    The uncovered border is grey (0), as in the authors' code. In images with a black background, D could not see a
    black border: G could then draw shifted images, and D would take them for augmented reals.
    """
    side = images.shape[2]
    reach = _rounded(side / 8)
    padded = torch.nn.functional.pad(images, (reach, reach, reach, reach))
    rows, columns = (_integer(images, 2 * reach + 1, draws) + torch.arange(side, device=images.device) for _ in "hw")
    each = torch.arange(len(images), device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(images: Tensor, draws: Draws) -> Tensor:
    """Set a square with a side of S/2 pixels, rounded, to grey (0) in each image of (N, C, S, S).

    The center of the square is uniform on the image: on the S + 1 borders of pixels if its side is even, on the S
    pixels if it is odd. At least a quarter of the square lies on the image.
    """
    side = images.shape[2]
    length = _rounded(side / 2)
    pixel = torch.arange(side, device=images.device)
    firsts = (_integer(images, side + 1 - length % 2, draws) - length // 2 for _ in "hw")
    rows, columns = ((first <= pixel) & (pixel < first + length) for first in firsts)
    return images.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], 0.0)


def _rounded(length: float) -> int:
    """Return the nearest integer; a half is rounded up."""
    return int(length + 0.5)


def _uniform(images: Tensor, draws: Draws) -> Tensor:
    """Return one number from U(0, 1) per image, (N, 1, 1, 1)."""
    return draws.uniform(len(images), 1, 1, 1)


def _integer(images: Tensor, below: int, draws: Draws) -> Tensor:
    """Return one integer in 0..below-1 per image, (N, 1)."""
    return draws.whole(below, len(images), 1)


_AUGMENTATIONS: Final[dict[Augmentation, Callable[[Tensor, Draws], Tensor]]] = {
    "color": color,
    "translation": translation,
    "cutout": cutout,
}
