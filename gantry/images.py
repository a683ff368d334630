"""Samples and previews of a job as Pillow images."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class Sample:
    """An image drawn on request. The same checkpoint, class and seed give the same image again."""

    image: Image.Image
    label: str | None
    """The name of the class; None for a generator without classes."""
    class_id: int | None
    seed: int


@dataclass(frozen=True)
class PreviewImage:
    """A grid of images that the generator drew from the job's fixed latents after `step` steps."""

    step: int
    image: Image.Image


def read_samples(archive: bytes) -> list[Sample]:
    """Return the images of a zip of samples, in order, with the label and seed of each from its manifest."""
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        manifest = json.loads(file.read("manifest.json"))
        return [
            Sample(read_png(file.read(f"{entry['index']:04d}.png")), entry["label"], entry["class_id"], entry["seed"])
            for entry in manifest["images"]
        ]


def read_png(content: bytes) -> Image.Image:
    """Return the image of a PNG file, fully decoded."""
    with Image.open(io.BytesIO(content), formats=("PNG",)) as opened:
        opened.load()
        return opened.copy()
