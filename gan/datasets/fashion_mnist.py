"""Fashion-MNIST: 60,000 training images of 28 x 28, and 10,000 test images, which are held out.

Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747. The images come from the files of Debian's package
`dataset-fashion-mnist` if it is installed. Otherwise they come from the Hugging Face hub through the optional library
`datasets` (extra `hub`).
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from gan.data import HeldOut, ImageDataset
from gan.datasets import idx
from gan.datasets.errors import DatasetUnavailableError, verified
from gan.spec.catalog import BUILTIN_DATASETS
from gan.spec.installed import DEBIAN_FASHION_MNIST, HOW_TO_GET_FASHION_MNIST

Bytes = npt.NDArray[np.uint8]

HELD_OUT_SHA256: Final = "9a494dc49efeb996f4076c469b31cd058152067b1594ba6ab85dd739fce3775e"
_HUB_NAME: Final = "zalando-datasets/fashion_mnist"


def load(folder: Path = DEBIAN_FASHION_MNIST) -> ImageDataset:
    """Return the training set in the order of its files, with the test set held out.

    Raises `DatasetUnavailableError`; its text names both ways to get the files.
    """
    installed = (folder / "train-images-idx3-ubyte.gz").exists()
    return verified(from_idx(folder) if installed else _from_hub(), HELD_OUT_SHA256)


def from_idx(folder: Path) -> ImageDataset:
    """Return both sets from the four IDX files in `folder`, without a check of their digests."""
    train, test = (
        (idx.read(folder / f"{part}-images-idx3-ubyte.gz"), idx.read(folder / f"{part}-labels-idx1-ubyte.gz"))
        for part in ("train", "t10k")
    )
    return _data_set(train, test)


def _data_set(train: tuple[Bytes, Bytes], test: tuple[Bytes, Bytes]) -> ImageDataset:
    """Return the data set of two pairs of images (N, 28, 28) and labels (N,)."""
    (images, labels), held_out = _tensors(*train), HeldOut(*_tensors(*test))
    return ImageDataset(BUILTIN_DATASETS["fashion-mnist"], images, labels, held_out)


def _tensors(images: Bytes, labels: Bytes) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(images[:, None].copy()), torch.from_numpy(labels.astype(np.int64))


def _from_hub() -> ImageDataset:
    try:
        library: Any = importlib.import_module("datasets")
    except ModuleNotFoundError as error:
        raise DatasetUnavailableError(
            f"'fashion-mnist' is not on this machine. {HOW_TO_GET_FASHION_MNIST}"
        ) from error
    try:
        train, test = (library.load_dataset(_HUB_NAME, split=split) for split in ("train", "test"))
    except (OSError, ValueError) as error:
        raise DatasetUnavailableError(
            f"'fashion-mnist' could not be downloaded from the Hugging Face hub ({error}). Check the network, "
            f"or get the data set in another way. {HOW_TO_GET_FASHION_MNIST}"
        ) from error
    return _data_set(_bytes(train), _bytes(test))


def _bytes(rows: Any) -> tuple[Bytes, Bytes]:
    images = np.stack([np.asarray(image, dtype=np.uint8) for image in rows["image"]])
    return images, np.array(rows["label"], dtype=np.uint8)
