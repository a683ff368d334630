"""Makes the sheets of `fashion-mnist-mini`: the first 500 images of each class of Fashion-MNIST, in file order.

Run `python -m gan.datasets.make_fashion_mnist_mini` where Debian's package `dataset-fashion-mnist` is installed.
The same library versions write the same bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from gan.catalog import FASHION_LABELS
from gan.datasets import fashion_mnist
from gan.datasets.fashion_mnist_mini import COLUMNS, FOLDER, ROWS, SIDE


def make(folder: Path = FOLDER) -> None:
    """Write `0.png` to `9.png` and `labels.txt` into `folder`. Raises `DatasetUnavailable` without the full set."""
    data = fashion_mnist.load()
    assert data.labels is not None
    for class_id in range(len(FASHION_LABELS)):
        chosen = data.images[data.labels == class_id][: ROWS * COLUMNS, 0].numpy()
        sheet = chosen.reshape(ROWS, COLUMNS, SIDE, SIDE).swapaxes(1, 2).reshape(ROWS * SIDE, COLUMNS * SIDE)
        Image.fromarray(np.ascontiguousarray(sheet)).save(folder / f"{class_id}.png", optimize=True)
    (folder / "labels.txt").write_text("\n".join(FASHION_LABELS) + "\n", encoding="utf-8")


if __name__ == "__main__":
    make()
    sys.exit(0)
