"""The program that makes the sheets of `fashion-mnist-mini`.

They hold the first 500 training images of each class of Fashion-MNIST, in file order, and the first 100 test images
of each class. Run `python -m gan.datasets.make_fashion_mnist_mini` where Debian's package `dataset-fashion-mnist` is
installed. The same library versions write the same bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan.datasets import fashion_mnist
from gan.datasets.fashion_mnist_mini import COLUMNS, FOLDER, HELD_OUT_ROWS, ROWS, SIDE
from gan.spec.catalog import FASHION_LABELS


def make(folder: Path = FOLDER) -> None:
    """Write the sheets and `labels.txt` into `folder`.

    Raises `DatasetUnavailableError` if the full data set is not available.
    """
    data = fashion_mnist.load()
    assert data.labels is not None
    assert data.held_out is not None
    assert data.held_out.labels is not None
    for class_id in range(len(FASHION_LABELS)):
        _write(folder / f"{class_id}.png", _first(data.images, data.labels, class_id, ROWS))
    held_out = [
        _first(data.held_out.images, data.held_out.labels, class_id, HELD_OUT_ROWS)
        for class_id in range(len(FASHION_LABELS))
    ]
    _write(folder / "held_out.png", torch.cat(held_out))
    (folder / "labels.txt").write_text("\n".join(FASHION_LABELS) + "\n", encoding="utf-8")


def _first(images: Tensor, labels: Tensor, class_id: int, rows: int) -> Tensor:
    """Return the first images of a class, as many as fill `rows` rows: (rows * 25, 28, 28)."""
    return images[labels == class_id][: rows * COLUMNS, 0]


def _write(path: Path, tiles: Tensor) -> None:
    rows = len(tiles) // COLUMNS
    sheet = tiles.numpy().reshape(rows, COLUMNS, SIDE, SIDE).swapaxes(1, 2).reshape(rows * SIDE, COLUMNS * SIDE)
    Image.fromarray(np.ascontiguousarray(sheet)).save(path, optimize=True)


if __name__ == "__main__":
    make()
    sys.exit(0)
