"""The images that ship with Gantry as a user's data set: a zip or class folders."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch
from PIL import Image

from gan.datasets import load
from gan.randomness import generator

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def zipped(path: Path, each: int, *, classes: int = 10, mislabelled: bool = False) -> Path:
    """Write a zip at `path` with `each` images of so many classes. It is always the same.

    With `mislabelled`, each image lies in the folder of a random class.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, png in _files(each, classes, mislabelled):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), png)
    return path


def folders(path: Path, each: int, *, classes: int = 10) -> Path:
    """Write the same images as class folders below `path`."""
    for name, png in _files(each, classes, False):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(png)
    return path


def _files(each: int, classes: int, mislabelled: bool) -> Iterator[tuple[str, bytes]]:
    data = load("fashion-mnist-mini")
    assert data.labels is not None
    # A slash would be a folder in a folder.
    names = [label.split("/")[0] for label in data.info.labels[:classes]]
    places = [names[i] for i in range(classes) for _ in range(each)]
    if mislabelled:
        order = torch.randperm(len(places), generator=generator(0, "shuffled labels")).tolist()
        places = [places[i] for i in order]
    for i in range(classes):
        for number, image in enumerate(data.images[data.labels == i][:each]):
            png = io.BytesIO()
            Image.fromarray(image[0].numpy()).save(png, "PNG")
            yield f"{places[i * each + number]}/{i}-{number:03d}.png", png.getvalue()
