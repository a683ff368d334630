"""A folder of images as a zip, so that one set of rules judges both."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def zipped(path: Path) -> Iterator[Path]:
    """The folder at `path` as a zip, gone when the block ends; another file as it is. Raises `OSError`."""
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
