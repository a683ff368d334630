"""A zip or a folder of images on this machine, judged and unpacked on the spot, as the service does with uploads."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gan.data import ImageDataset
from gan.datasets import uploaded
from gan.uploads.unpack import Preparation, unpack


def bring(
    path: Path,
    folder: Path,
    name: str,
    side: int | None = None,
    *,
    planned: Callable[[Preparation], None] = lambda _: None,
) -> ImageDataset:
    """The images at `path`, a folder a class, as the data set `name`; its files are left in `folder`.

    `planned` hears what is done to them. Raises `Refused`, and `OSError`.
    """
    with _zipped(path) as archive:
        made = unpack(archive, folder, name, side, planned=planned)
    return uploaded.load(folder, made.info)


@contextmanager
def _zipped(path: Path) -> Iterator[Path]:
    """A folder as a zip, so that one set of rules judges both."""
    if not path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory() as beside:
        made = Path(beside) / "images.zip"
        # Some archives leave files of before 1980, which a zip cannot say.
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as file:
            for found in sorted(path.rglob("*")):
                if found.is_file() or found.is_dir():
                    file.write(found, found.relative_to(path))
        yield made
