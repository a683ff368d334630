"""A folder of images as a zip file that can be uploaded."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def as_archive(path: Path) -> Iterator[Path]:
    """Yield a temporary zip of the folder at `path`, or `path` itself if it is a file. Raises `OSError`."""
    if not path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "images.zip"
        # strict_timestamps: some archive tools leave files dated before 1980, which a zip cannot store.
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as file:
            for entry in sorted(path.rglob("*")):
                if entry.is_file() or entry.is_dir():
                    file.write(entry, entry.relative_to(path))
        yield archive
