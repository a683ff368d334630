"""A folder of images as a zip, so that the same rules apply to folders and to archives."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gan.uploads.litter import is_litter

Note = Callable[[str], None]


class UnreadableImagesError(Exception):
    """Images on this machine cannot be read. The message names each file and folder, with the reason."""


@contextmanager
def zipped(path: Path, note: Note = lambda _: None) -> Iterator[Path]:
    """Yield the path of a temporary zip of the folder at `path`; yield `path` itself if it is a file.

    Links are followed. `note` gets a sentence about everything that is left out. The zip is deleted when the block
    ends. Raises `UnreadableImagesError`.
    """
    if not path.is_dir():
        if not os.access(path, os.R_OK):
            reason = "Permission denied" if path.exists() else "there is no such file or folder"
            raise UnreadableImagesError(f"{_shown(path)} cannot be read: {reason}.")
        yield path
        return
    gathered = _Gathered(note)
    gathered.add_folder(path, "", ())
    if gathered.problems:
        raise UnreadableImagesError(" ".join(gathered.problems))
    with tempfile.TemporaryDirectory() as temporary:
        archive = Path(temporary) / "images.zip"
        gathered.write(archive)
        yield archive


class _Gathered:
    """The files and folders under a folder, as (name in the zip, path), and what cannot be one of them."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self.entries: list[tuple[str, Path]] = []
        self.problems: list[str] = []

    def add_folder(self, folder: Path, prefix: str, around: tuple[tuple[int, int], ...]) -> None:
        """Add what `folder` holds; `around` has device and inode of each folder around it."""
        try:
            status = folder.stat()
            found = sorted(folder.iterdir())
        except OSError as error:
            if is_litter((folder.name,)):
                self._note(f"{_shown(folder)} is left out: {error.strerror}.")
            else:
                self.problems.append(f"{_shown(folder)} cannot be read: {error.strerror}.")
            return
        here = (status.st_dev, status.st_ino)
        if here in around:
            self._note(f"{_shown(folder)} is left out: it is a link to a folder around it.")
            return
        for path in found:
            self._add(path, f"{prefix}{path.name}", (*around, here))

    def write(self, archive: Path) -> None:
        """Write everything that was added into a zip. Raises `UnreadableImagesError`."""
        try:
            # Some archives extract to files from before 1980, a time that a zip cannot represent.
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as file:
                for name, found in self.entries:
                    file.write(found, name)
        except OSError as error:
            reason = f"{error.filename or archive}: {error.strerror}"
            raise UnreadableImagesError(f"The images cannot be gathered in a temporary zip: {reason}.") from error

    def _add(self, path: Path, name: str, around: tuple[tuple[int, int], ...]) -> None:
        if not _is_utf8(path.name):
            self.problems.append(f"The name of {_shown(path)} is not UTF-8: rename it.")
        elif path.is_dir():
            self.entries.append((name, path))
            self.add_folder(path, f"{name}/", around)
        elif path.is_symlink() and not path.exists():
            self.problems.append(f"{_shown(path)} is a link to a file that does not exist.")
        elif not path.is_file():
            self._note(f"{_shown(path)} is left out: it is neither a file nor a folder.")
        elif not os.access(path, os.R_OK):
            self.problems.append(f"{_shown(path)} cannot be read: Permission denied.")
        else:
            self.entries.append((name, path))


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _shown(path: Path) -> str:
    """Return the path for a sentence; bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
