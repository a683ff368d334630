"""Images in memory: a data set as uint8, its batches as float32 in [-1, 1] for the networks, and their order.

The conversion back to pixels is in `gan.sample`. Values change their range in these two modules only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from gan.randomness import generator
from gan.spec.catalog import DatasetInfo


@dataclass(frozen=True)
class HeldOut:
    """The held-out part of a data set: real images that are never trained on, the reference for quality metrics.

    images: (M, C, H, W) uint8 in 0..255. labels: (M,) int64, or None if there are no classes.
    """

    images: Tensor
    labels: Tensor | None

    def __len__(self) -> int:
        return self.images.shape[0]

    def to(self, device: torch.device | str) -> HeldOut:
        """Return a copy with its tensors on `device`."""
        return HeldOut(self.images.to(device), None if self.labels is None else self.labels.to(device))

    def digest(self) -> str:
        """Return the sha256 of the images' bytes and the labels, as `ImageDataset.digest` does."""
        return _digest(self.images, self.labels)


@dataclass(frozen=True)
class ImageDataset:
    """A data set in memory.

    images: (N, C, H, W) uint8 in 0..255. labels: (N,) int64, class ids 0..K-1; None if there are no classes.
    held_out: real images that are never trained on, not part of the digest; None if there are none.
    Raises `ValueError` if types or shapes do not match `info`.
    """

    info: DatasetInfo
    images: Tensor
    labels: Tensor | None
    held_out: HeldOut | None = None

    def __post_init__(self) -> None:
        shape = (self.info.channels, self.info.height, self.info.width)
        held_out = [] if self.held_out is None else [(self.held_out.images, self.held_out.labels)]
        for images, labels in [(self.images, self.labels), *held_out]:
            if images.dtype != torch.uint8 or tuple(images.shape[1:]) != shape:
                raise ValueError(f"images must be uint8 of shape (N, {', '.join(map(str, shape))}).")
            if labels is not None and labels.shape != images.shape[:1]:
                raise ValueError("There must be one label for each image.")
            if (labels is None) != (self.labels is None):
                raise ValueError("Held-out images must have labels if and only if the training images have labels.")

    def __len__(self) -> int:
        return self.images.shape[0]

    @cached_property
    def sha256(self) -> str:
        """The digest: that in `info`, or computed if `info` has none."""
        return self.info.sha256 or self.digest()

    def to(self, device: torch.device | str) -> ImageDataset:
        """Return a copy with its tensors on `device`."""
        labels = None if self.labels is None else self.labels.to(device)
        held_out = None if self.held_out is None else self.held_out.to(device)
        return replace(self, images=self.images.to(device), labels=labels, held_out=held_out)

    def digest(self) -> str:
        """Return the sha256 of the images' bytes (N, C, H, W), followed by the labels as little-endian int64."""
        return _digest(self.images, self.labels)


def _digest(images: Tensor, labels: Tensor | None) -> str:
    digest = hashlib.sha256(images.cpu().contiguous().numpy().tobytes())
    if labels is not None:
        digest.update(labels.cpu().numpy().astype("<i8").tobytes())
    return digest.hexdigest()


def margins(height: int, width: int, size: int) -> tuple[int, int, int, int]:
    """Return the padding in pixels that centres an image of `height` x `width` in a square of `size`.

    It is (left, right, top, bottom), the order of `torch.nn.functional.pad`.
    """
    left, top = (size - width) // 2, (size - height) // 2
    return left, size - width - left, top, size - height - top


def to_unit_range(images: Tensor, size: int) -> Tensor:
    """Convert (N, C, H, W) uint8 to (N, C, size, size) float32 in [-1, 1], padded with black (-1)."""
    padded = F.pad(images, margins(images.shape[2], images.shape[3], size))
    return padded.to(torch.float32).div_(127.5).sub_(1.0)


class RealBatches:
    """The infinite stream of real images: one random permutation of the data set per epoch, one after another.

    The image at a position depends on (seed, purpose, position) alone, so a resumed run only needs the position.
    """

    def __init__(self, data: ImageDataset, size: int, seed: int, purpose: str = "epoch") -> None:
        self._data = data
        self._size = size
        self._seed, self._purpose = seed, purpose
        self._orders: dict[int, Tensor] = {}

    def random_labels(self, count: int, source: torch.Generator) -> Tensor | None:
        """Return random class ids (count,) with the frequencies of the data set; None if it has no classes."""
        if self._data.labels is None:
            return None
        chosen = torch.randint(len(self._data), (count,), generator=source, device=source.device)
        return self._data.labels.index_select(0, chosen)

    def at(self, position: int, count: int) -> tuple[Tensor, Tensor | None]:
        """Return images `position` to `position + count` of the stream, (N, C, S, S) in [-1, 1], and labels (N,)."""
        chosen = self._indices(position, count)
        labels = None if self._data.labels is None else self._data.labels.index_select(0, chosen)
        return to_unit_range(self._data.images.index_select(0, chosen), self._size), labels

    def _indices(self, position: int, count: int) -> Tensor:
        parts = []
        while count > 0:
            epoch, offset = divmod(position, len(self._data))
            part = self._order(epoch)[offset : offset + count]
            parts.append(part)
            position, count = position + len(part), count - len(part)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            # It is drawn on the CPU, so that the order is the same on every device.
            order = torch.randperm(len(self._data), generator=generator(self._seed, self._purpose, epoch))
            self._orders = {epoch: order.to(self._data.images.device)}
        return self._orders[epoch]
