"""Zip files for uploads: class folders with real images, valid and with damaged ones."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Final

from PIL import Image

from gan.datasets.fashion_mnist_mini import COLUMNS, FOLDER, SIDE
from gan.spec.catalog import FASHION_LABELS

CLASSES: Final = ("Bag", "Dress", "Sneaker")
EACH: Final = 150


def good(path: Path) -> Path:
    """Write a zip with `EACH` Fashion-MNIST images of each of `CLASSES`, and return its path."""
    with zipfile.ZipFile(path, "w") as archive:
        for label in CLASSES:
            for number, png in enumerate(_images(label)):
                archive.writestr(f"{label}/{number:03d}.png", png)
    return path


def bad(path: Path) -> Path:
    """Write the same zip plus two truncated images, which only decoding reveals, and return its path."""
    with zipfile.ZipFile(good(path), "a") as archive:
        for label in CLASSES[:2]:
            archive.writestr(f"{label}/torn.png", _images(label)[0][:200])
    return path


def _images(label: str) -> list[bytes]:
    with Image.open(FOLDER / f"{FASHION_LABELS.index(label)}.png") as sheet:
        tiles = [divmod(number, COLUMNS) for number in range(EACH)]
        return [_png(sheet.crop((x * SIDE, y * SIDE, (x + 1) * SIDE, (y + 1) * SIDE)).convert("L")) for y, x in tiles]


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()
