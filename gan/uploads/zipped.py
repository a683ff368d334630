"""A folder of images as a zip, so that the same rules apply to folders and to archives."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def zipped(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary zip of the folder at `path`; yield `path` itself if it is a file.

    The zip is deleted when the block ends. Raises `OSError`.
    """
    if not path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory() as temporary:
        archive = Path(temporary) / "images.zip"
        # Some archives extract to files from before 1980, a time that a zip cannot represent.
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as file:
            for found in sorted(path.rglob("*")):
                if found.is_file() or found.is_dir():
                    file.write(found, found.relative_to(path))
        yield archive
