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
    """Return a PNG with one grid of the images (N, H, W, C), each row's label to its left. Raises `ValueError`."""
    return grid_png(images, rows, row_labels or None)


def zipped(images: Images, manifest: Mapping[str, Any]) -> bytes:
    """Return a zip of `0000.png`, `0001.png`, ... and `manifest.json`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for i, image in enumerate(images):
            # A new ZipInfo is dated 1980. The default is the current time, which would change the bytes.
            archive.writestr(zipfile.ZipInfo(f"{i:04d}.png"), image_png(image))
        archive.writestr(zipfile.ZipInfo("manifest.json"), json.dumps(manifest, indent=2))
    return buffer.getvalue()


def npz(images: Images, class_ids: Sequence[int] | None) -> bytes:
    """Return an npz with `images` uint8 (N, H, W, C) and `labels` int64 (N,), which are -1 without classes."""
    labels = np.full(len(images), -1, np.int64) if class_ids is None else np.asarray(class_ids, np.int64)
    buffer = io.BytesIO()
    np.savez(buffer, images=images, labels=labels)
    return buffer.getvalue()
