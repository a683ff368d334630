"""A disk that can be filled to the last byte, and emptied again: a tmpfs of a few megabytes."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

_NEEDS_ROOT: Final = (
    "This test fills a small disk of its own and may not mount one here: {} Run the tests as root in a container "
    "that may mount (docker run --privileged), or within `unshare -rm`."
)


class SmallDisk:
    """A mounted folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave no byte."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                self._write_until_full(file.fileno(), bytes(size))

    def empty(self) -> None:
        """There is space again."""
        self._ballast.unlink()

    def _write_until_full(self, descriptor: int, block: bytes) -> None:
        try:
            while True:
                os.write(descriptor, block)
        except OSError as error:
            assert error.errno == errno.ENOSPC, error


@contextmanager
def small_disk(folder: Path, megabytes: int = 16) -> Iterator[SmallDisk]:
    """Mount one at `folder`; it fails the test, and says what it needs, where that is not permitted."""
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(_NEEDS_ROOT.format(done.stderr.strip()))
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
