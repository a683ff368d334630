"""A zip or a folder of images on this machine as a data set, under the same rules as an upload to the service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gan.data import ImageDataset
from gan.datasets import uploaded
from gan.uploads.unpack import ImagePreparation, unpack
from gan.uploads.zipped import zipped


def load(
    path: Path,
    folder: Path,
    name: str,
    side: int | None = None,
    *,
    on_preparation: Callable[[ImagePreparation], None] = lambda _: None,
    on_note: Callable[[str], None] = lambda _: None,
) -> ImageDataset:
    """Return the images at `path`, with one folder per class, as the data set `name`.

    Its unpacked files stay in `folder`. `side` is the width and height in pixels; None chooses one that fits the
    images. `on_preparation` is called before the first image is converted, and `on_note` with each sentence about
    what was left out or was a choice. Raises `ArchiveRefusedError`, `UnreadableImagesError`, `OSError` if `folder`
    cannot be written, and `DatasetUnavailableError`.
    """
    with zipped(path, on_note) as archive:
        unpacked = unpack(archive, folder, name, side, on_preparation=on_preparation)
    for note in unpacked.notes:
        on_note(note)
    return uploaded.load(folder, unpacked.info)
