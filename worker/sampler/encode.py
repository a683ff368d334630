"""Drawn images as files: one grid, a zip of single images, an npz. The same images give the same bytes."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan.sample import grid_png, image_png

Images = NDArray[np.uint8]


def png(images: Images, rows: int, row_labels: Sequence[str]) -> bytes:
    """One grid of (N, H, W, C), row after row, each row's label to its left. Raises `ValueError`."""
    return grid_png(images, rows, row_labels or None)


def zipped(images: Images, manifest: Mapping[str, Any]) -> bytes:
    """`0000.png`, `0001.png`, ... and `manifest.json`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for i, image in enumerate(images):
            # A ZipInfo of its own is dated 1980; by default an entry carries the time of day.
            archive.writestr(zipfile.ZipInfo(f"{i:04d}.png"), image_png(image))
        archive.writestr(zipfile.ZipInfo("manifest.json"), json.dumps(manifest, indent=2))
    return buffer.getvalue()


def npz(images: Images, class_ids: Sequence[int] | None) -> bytes:
    """Arrays `images` uint8 (N, H, W, C) and `labels` int64 (N,), -1 where there are no classes."""
    labels = np.full(len(images), -1, np.int64) if class_ids is None else np.asarray(class_ids, np.int64)
    buffer = io.BytesIO()
    np.savez(buffer, images=images, labels=labels)
    return buffer.getvalue()
