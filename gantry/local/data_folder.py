"""The data folder of `gantry up`, and its lock file, which also holds the address of the sampler."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from gantry.local.errors import UpError
from gantry.local.settings import LocalSettings

LOCK_FILE: Final = "up.lock"


def make_folder(folder: Path) -> None:
    """Create `folder` for its user alone, if it is missing. Raises `UpError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UpError(f"The data folder cannot be made: {error.strerror}: {error.filename}.") from error


@contextmanager
def locked(data_dir: Path) -> Iterator[IO[str]]:
    """Hold the lock of the data folder and yield its file. Raises `UpError` if another process holds it.

    The kernel releases the lock, however this process ends.
    """
    with (data_dir / LOCK_FILE).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UpError(f"Another `gantry up` runs on {data_dir}; stop it, or choose another --data.") from None
        yield file


def write_sampler_url(lock: IO[str], settings: LocalSettings) -> None:
    """Write the address of the sampler into the lock file, for `gantry doctor`."""
    lock.truncate(0)
    lock.write(settings.sampler_url)
    lock.flush()


def read_sampler_url(settings: LocalSettings) -> str:
    """Return the address of the sampler: the given one, or else the one that `gantry up` chose for this folder."""
    lock = settings.data_dir / LOCK_FILE
    if settings.given("sampler_url") or not lock.is_file():
        return settings.sampler_url
    return lock.read_text().strip() or settings.sampler_url
