"""A zip or a folder of images on this machine, judged and unpacked on the spot, as the service does with uploads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gan.data import ImageDataset
from gan.datasets import uploaded
from gan.uploads.unpack import ImagePreparation, unpack
from gan.uploads.zipped import zipped


def bring(
    path: Path,
    folder: Path,
    name: str,
    side: int | None = None,
    *,
    planned: Callable[[ImagePreparation], None] = lambda _: None,
) -> ImageDataset:
    """The images at `path`, a folder a class, as the data set `name`; its files are left in `folder`.

    `planned` hears what is done to them. Raises `Refused`, and `OSError`.
    """
    with zipped(path) as archive:
        made = unpack(archive, folder, name, side, planned=planned)
    return uploaded.load(folder, made.info)
