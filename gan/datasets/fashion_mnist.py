"""Fashion-MNIST, 60,000 training images of 28 x 28 (Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747).

From the files of Debian's package `dataset-fashion-mnist` where they are installed, else from the Hugging Face
hub through the optional library `datasets` (extra `hub`).
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from gan.catalog import BUILTIN_DATASETS
from gan.data import ImageDataset
from gan.datasets import idx
from gan.datasets.errors import DatasetUnavailable, verified

DEBIAN_FOLDER: Final = Path("/usr/share/datasets/fashion-mnist")
_HUB_NAME: Final = "zalando-datasets/fashion_mnist"
_HOW_TO_GET: Final = (
    "Install Debian's package with `apt install dataset-fashion-mnist`, or the library that downloads it with "
    "`pip install 'gantry[hub]'`; or train on 'fashion-mnist-mini', which is part of Gantry."
)


def load(folder: Path = DEBIAN_FOLDER) -> ImageDataset:
    """The training set, in the order of its files. Raises `DatasetUnavailable`, which names both ways to get it."""
    return verified(from_idx(folder) if (folder / "train-images-idx3-ubyte.gz").exists() else _from_hub())


def from_idx(folder: Path) -> ImageDataset:
    """The training set from the two IDX files of `folder`, not yet compared with the released digest."""
    images = idx.read(folder / "train-images-idx3-ubyte.gz")
    labels = idx.read(folder / "train-labels-idx1-ubyte.gz")
    return ImageDataset(
        info=BUILTIN_DATASETS["fashion-mnist"],
        images=torch.from_numpy(images[:, None].copy()),
        labels=torch.from_numpy(labels.astype(np.int64)),
    )


def _from_hub() -> ImageDataset:
    try:
        library: Any = importlib.import_module("datasets")
    except ModuleNotFoundError as error:
        raise DatasetUnavailable(f"'fashion-mnist' is not on this machine. {_HOW_TO_GET}") from error
    try:
        rows = library.load_dataset(_HUB_NAME, split="train")
    except (OSError, ValueError) as error:
        raise DatasetUnavailable(
            f"'fashion-mnist' could not be downloaded from the Hugging Face hub ({error}). Check the network, "
            f"or get it another way. {_HOW_TO_GET}"
        ) from error
    images = np.stack([np.asarray(image, dtype=np.uint8) for image in rows["image"]])
    return ImageDataset(
        info=BUILTIN_DATASETS["fashion-mnist"],
        images=torch.from_numpy(images[:, None]),
        labels=torch.tensor(list(rows["label"]), dtype=torch.int64),
    )
