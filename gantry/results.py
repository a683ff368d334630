"""What the client hands to Python as more than JSON: curves as arrays, samples and previews as pictures.

Apart from the client, so that the command line, which needs neither, loads neither numpy nor Pillow.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image


class Curve(NamedTuple):
    """One curve: steps int64 (N,), and values float64 (N,), NaN where one was not finite."""

    steps: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """An image that was drawn on request. The same checkpoint, class and seed draw it again."""

    image: Image.Image
    label: str | None
    class_id: int | None
    seed: int


@dataclass(frozen=True)
class PreviewImage:
    """A grid of the job's fixed latents, as they were drawn after `step` steps."""

    step: int
    image: Image.Image


def curves(series: Mapping[str, Sequence[Sequence[Any]]]) -> dict[str, Curve]:
    """[step, value] pairs by name, as arrays."""
    return {name: _curve(points) for name, points in series.items()}


def joined(pages: Iterable[Sequence[Sequence[Any]]]) -> Curve:
    """One curve that came in pages."""
    return _curve([point for page in pages for point in page])


def samples(archive: bytes) -> list[Sample]:
    """The images of a zip of samples, in order, with what its manifest says of each."""
    with zipfile.ZipFile(io.BytesIO(archive)) as held:
        manifest = json.loads(held.read("manifest.json"))
        return [
            Sample(picture(held.read(f"{drawn['index']:04d}.png")), drawn["label"], drawn["class_id"], drawn["seed"])
            for drawn in manifest["images"]
        ]


def picture(png: bytes) -> Image.Image:
    """A PNG of the service, whole."""
    with Image.open(io.BytesIO(png), formats=("PNG",)) as opened:
        opened.load()
        return opened.copy()


def _curve(points: Sequence[Sequence[Any]]) -> Curve:
    steps = np.array([step for step, _ in points], np.int64)
    return Curve(steps, np.array([np.nan if value is None else value for _, value in points], np.float64))
