"""A user's data set, as `gan.uploads` has unpacked it into a folder."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gan.data import HeldOut, ImageDataset
from gan.datasets.errors import DatasetUnavailableError, verified
from gan.spec.catalog import DatasetInfo


def load(folder: Path, info: DatasetInfo) -> ImageDataset:
    """Return the data set `info` from its files in `folder`, with its held-out images, verified against the digests.

    Raises `DatasetUnavailableError` if files are missing, damaged, or belong to another data set.
    """
    try:
        about = json.loads((folder / "about.json").read_bytes())
        images, labels = _read(folder, "", info, info.num_images)
        held_out = HeldOut(*_read(folder, "held_out_", info, about["held_out"]))
    except (OSError, ValueError, KeyError) as error:
        raise _unreadable(info, error) from error
    return verified(ImageDataset(info, images, labels, held_out), about["held_out_sha256"])


def mapped(folder: Path, info: DatasetInfo) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64] | None]:
    """Return the training images (N, C, H, W) as a memory map, and their labels (N,), None without classes.

    The images are read only where they are accessed, and no digest is verified. Raises `DatasetUnavailableError`.
    """
    shape = (info.num_images, info.channels, info.height, info.width)
    try:
        images = np.memmap(folder / "images.bin", np.uint8, "r", shape=shape)
        return images, _labels(folder, "", info, info.num_images) if info.classes else None
    except (OSError, ValueError) as error:
        raise _unreadable(info, error) from error


def _unreadable(info: DatasetInfo, error: Exception) -> DatasetUnavailableError:
    reason = error.strerror if isinstance(error, OSError) else "they are damaged"
    return DatasetUnavailableError(f"The files of {info.name!r} cannot be read ({reason}). Upload it again.")


def _read(folder: Path, prefix: str, info: DatasetInfo, count: int) -> tuple[Tensor, Tensor | None]:
    shape = (count, info.channels, info.height, info.width)
    pixels = np.fromfile(folder / f"{prefix}images.bin", np.uint8)
    if pixels.size != math.prod(shape):
        raise ValueError(f"{prefix}images.bin has the wrong length.")
    images = torch.from_numpy(pixels.reshape(shape))
    return images, torch.from_numpy(_labels(folder, prefix, info, count)) if info.classes else None


def _labels(folder: Path, prefix: str, info: DatasetInfo, count: int) -> npt.NDArray[np.int64]:
    labels = np.fromfile(folder / f"{prefix}labels.bin", "<i8").astype(np.int64)
    if labels.size != count or not ((labels >= 0) & (labels < len(info.classes))).all():
        raise ValueError(f"{prefix}labels.bin does not match the data set.")
    return labels
