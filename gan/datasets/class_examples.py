"""A few real images of each class, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


def class_examples(
    images: Bytes, labels: npt.NDArray[np.int64] | None, class_ids: Sequence[int | None], n: int
) -> Bytes:
    """Return `n` images of each of `class_ids` in turn, spread evenly over the class: (len(class_ids) * n, H, W, C).

    `images` is (N, C, H, W) and `labels` (N,). The class None means all images. If a class has fewer than `n` images,
    white ones take the remaining places. No other image is read, so `images` may be a memory map.
    """
    return np.concatenate([_examples(images, labels, class_id, n) for class_id in class_ids])


def _examples(images: Bytes, labels: npt.NDArray[np.int64] | None, class_id: int | None, n: int) -> Bytes:
    found = np.arange(len(images)) if class_id is None or labels is None else np.flatnonzero(labels == class_id)
    row = np.full((n, *images.shape[1:]), 255, np.uint8)
    if len(found):
        chosen = found[np.linspace(0, len(found) - 1, min(n, len(found))).round().astype(np.int64)]
        row[: len(chosen)] = images[chosen]
    return row.transpose(0, 2, 3, 1)
