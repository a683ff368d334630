"""A few real images of each class, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


def few(images: Bytes, labels: npt.NDArray[np.int64] | None, class_ids: Sequence[int | None], n: int) -> Bytes:
    """`n` of each class in turn, from one end of it to the other: (N, C, H, W) -> (len(class_ids) * n, H, W, C).

    A class None is all images; white stands where there are fewer than `n`. Reads no image but those.
    """
    return np.concatenate([_of(images, labels, class_id, n) for class_id in class_ids])


def _of(images: Bytes, labels: npt.NDArray[np.int64] | None, class_id: int | None, n: int) -> Bytes:
    found = np.arange(len(images)) if class_id is None or labels is None else np.flatnonzero(labels == class_id)
    row = np.full((n, *images.shape[1:]), 255, np.uint8)
    if len(found):
        chosen = found[np.linspace(0, len(found) - 1, min(n, len(found))).round().astype(np.int64)]
        row[: len(chosen)] = images[chosen]
    return row.transpose(0, 2, 3, 1)
