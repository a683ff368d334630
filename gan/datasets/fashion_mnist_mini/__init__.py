"""5,000 real images of Fashion-MNIST, 500 a class, that travel with the code.

One PNG sheet a class, `0.png` to `9.png`, of 20 rows of 25 tiles; `labels.txt` names the classes by id.
Made by `gan/datasets/make_fashion_mnist_mini.py`; Zalando's licence is in `LICENSE` beside this file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from gan.catalog import BUILTIN_DATASETS
from gan.data import ImageDataset
from gan.datasets.errors import DatasetUnavailable, verified

FOLDER: Final = Path(__file__).parent
COLUMNS, ROWS, SIDE = 25, 20, 28


def load(folder: Path = FOLDER) -> ImageDataset:
    """The 5,000 images, class by class. Raises `DatasetUnavailable` where a sheet is missing or damaged."""
    info = BUILTIN_DATASETS["fashion-mnist-mini"]
    classes = _classes(folder / "labels.txt")
    if classes != info.labels:
        raise DatasetUnavailable("labels.txt of 'fashion-mnist-mini' has been changed. Install Gantry again.")
    images = np.concatenate([_tiles(folder / f"{i}.png") for i in range(len(classes))])
    labels = torch.arange(len(classes)).repeat_interleave(COLUMNS * ROWS)
    return verified(ImageDataset(info=info, images=torch.from_numpy(images[:, None]), labels=labels))


def _classes(path: Path) -> tuple[str, ...]:
    """The class names, in the order of their ids."""
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetUnavailable(
            f"{path.name} of 'fashion-mnist-mini' cannot be read ({error}). Install Gantry again."
        ) from error


def _tiles(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The 500 tiles of a sheet, (500, 28, 28), row by row."""
    try:
        with Image.open(path) as sheet:
            pixels = np.asarray(sheet.convert("L"))
    except (OSError, UnidentifiedImageError) as error:
        raise DatasetUnavailable(
            f"The sheet {path.name} of 'fashion-mnist-mini' cannot be read ({error}). Install Gantry again."
        ) from error
    if pixels.shape != (ROWS * SIDE, COLUMNS * SIDE):
        raise DatasetUnavailable(
            f"The sheet {path.name} of 'fashion-mnist-mini' has a wrong size. Install Gantry again."
        )
    grid = pixels.reshape(ROWS, SIDE, COLUMNS, SIDE).swapaxes(1, 2)
    return np.ascontiguousarray(grid.reshape(ROWS * COLUMNS, SIDE, SIDE))
