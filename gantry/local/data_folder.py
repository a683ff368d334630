"""The data folder of `gantry up`, and its lock file, which also holds the address of the sampler."""

from __future__ import annotations

import fcntl
import os
import pwd
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
    path = data_dir / LOCK_FILE
    try:
        opened = path.open("a+", encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UpError(
            f"{path} cannot be opened: {error.strerror}. {_owner(path)}Choose another --data, or change its owner."
        ) from error
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UpError(f"Another `gantry up` runs on {data_dir}; stop it, or choose another --data.") from None
        except OSError as error:
            sentence = f"{path} cannot be locked: {error.strerror}. Choose another --data, on a local disk."
            raise UpError(sentence) from error
        yield file


def write_sampler_url(lock: IO[str], settings: LocalSettings) -> None:
    """Write the address of the sampler into the lock file, for `gantry doctor`. Raises `UpError`."""
    try:
        lock.truncate(0)
        lock.write(settings.sampler_url)
        lock.flush()
    except OSError as error:
        raise UpError(f"{lock.name} cannot be written: {error.strerror}.") from error


def read_sampler_url(settings: LocalSettings) -> str:
    """Return the address of the sampler: the given one, or else the one that `gantry up` chose for this folder."""
    lock = settings.data_dir / LOCK_FILE
    if settings.given("sampler_url") or not lock.is_file():
        return settings.sampler_url
    try:
        return lock.read_text(encoding="utf-8", errors="surrogateescape").strip() or settings.sampler_url
    except OSError:  # the lock of another user, whose sampler this one cannot reach either
        return settings.sampler_url


def _owner(path: Path) -> str:
    """Return whose the file is, as a sentence with a space behind it; "" if that is not known or it is one's own."""
    try:
        owner = path.stat().st_uid
        return "" if owner == os.geteuid() else f"It belongs to {pwd.getpwuid(owner).pw_name}. "
    except (OSError, KeyError):
        return ""
