"""A small disk, a tmpfs of a few megabytes, that can be filled to the last byte and emptied again."""

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
    "This test fills a small disk, and mounting one is not permitted here: {} Run the tests as root in a container "
    "that may mount (docker run --privileged), or within `unshare -rm`."
)


class SmallDisk:
    """A small disk that is mounted at `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filling = folder / "filling"

    def fill(self) -> None:
        """Fill the disk to the last byte."""
        with self._filling.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                self._write_until_full(file.fileno(), bytes(size))

    def empty(self) -> None:
        """Remove the filling."""
        self._filling.unlink()

    def _write_until_full(self, descriptor: int, block: bytes) -> None:
        try:
            while True:
                os.write(descriptor, block)
        except OSError as error:
            assert error.errno == errno.ENOSPC, error


@contextmanager
def small_disk(folder: Path, megabytes: int = 16) -> Iterator[SmallDisk]:
    """Mount a small disk at `folder`. If that is not permitted, fail the test with an explanation."""
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(_NEEDS_ROOT.format(done.stderr.strip()))
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
