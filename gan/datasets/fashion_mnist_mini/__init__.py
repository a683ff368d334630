"""5,000 training images of Fashion-MNIST, 500 per class, as part of the package; 1,000 test images are held out.

There is one PNG sheet per class, `0.png` to `9.png`, of 20 rows of 25 tiles. `held_out.png` has 4 rows of test images
per class, class after class. `labels.txt` lists the class names in the order of their ids.
`gan/datasets/make_fashion_mnist_mini.py` makes these files; Zalando's licence is in `LICENSE` beside this file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from gan.data import HeldOut, ImageDataset
from gan.datasets.errors import DatasetUnavailableError, verified
from gan.spec.catalog import BUILTIN_DATASETS

FOLDER: Final = Path(__file__).parent
HELD_OUT_SHA256: Final = "aede4e2335153e6183a09c9e0f089de68c7cb36db619d17078a2d4b5ba0e9ed7"
COLUMNS, ROWS, SIDE = 25, 20, 28
HELD_OUT_ROWS: Final = 4


def load(folder: Path = FOLDER) -> ImageDataset:
    """Return the 5,000 images, class by class, and the held-out ones.

    Raises `DatasetUnavailableError` if a file is missing, damaged or changed.
    """
    info = BUILTIN_DATASETS["fashion-mnist-mini"]
    classes = _classes(folder / "labels.txt")
    if classes != info.labels:
        raise DatasetUnavailableError("labels.txt of 'fashion-mnist-mini' has been changed. Install Gantry again.")
    images = np.concatenate([_tiles(folder / f"{i}.png", ROWS) for i in range(len(classes))])
    held_out = HeldOut(
        torch.from_numpy(_tiles(folder / "held_out.png", HELD_OUT_ROWS * len(classes))[:, None]),
        _class_ids(len(classes), HELD_OUT_ROWS),
    )
    data = ImageDataset(info, torch.from_numpy(images[:, None]), _class_ids(len(classes), ROWS), held_out)
    return verified(data, HELD_OUT_SHA256)


def _class_ids(classes: int, rows: int) -> torch.Tensor:
    return torch.arange(classes).repeat_interleave(COLUMNS * rows)


def _classes(path: Path) -> tuple[str, ...]:
    """Return the class names in the order of their ids."""
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetUnavailableError(
            f"{path.name} of 'fashion-mnist-mini' cannot be read ({error}). Install Gantry again."
        ) from error


def _tiles(path: Path, rows: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return the tiles of a sheet of `rows` rows as (rows * 25, 28, 28), row by row."""
    try:
        with Image.open(path) as sheet:
            pixels = np.asarray(sheet.convert("L"))
    except (OSError, UnidentifiedImageError) as error:
        raise DatasetUnavailableError(
            f"The sheet {path.name} of 'fashion-mnist-mini' cannot be read ({error}). Install Gantry again."
        ) from error
    if pixels.shape != (rows * SIDE, COLUMNS * SIDE):
        raise DatasetUnavailableError(
            f"The sheet {path.name} of 'fashion-mnist-mini' has the wrong size. Install Gantry again."
        )
    grid = pixels.reshape(rows, SIDE, COLUMNS, SIDE).swapaxes(1, 2)
    return np.ascontiguousarray(grid.reshape(rows * COLUMNS, SIDE, SIDE))
