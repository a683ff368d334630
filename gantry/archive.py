"""A folder of images as a zip file that can be uploaded."""

from __future__ import annotations

import errno
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gantry.errors import FolderUnreadableError

_MOST_NAMED: Final = 5


@contextmanager
def as_archive(path: Path) -> Iterator[Path]:
    """Yield a temporary zip of the folder at `path`, or `path` itself if it is a file.

    Raises `OSError`, and `FolderUnreadableError` if a part of the folder cannot be sent: nothing is left out.
    """
    if not path.is_dir():
        yield path
        return
    found = _Gathering(path)
    found.add(path, (_identity(path),))
    if found.problems:
        raise FolderUnreadableError(_sentences(path, found.problems))
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "images.zip"
        _write(archive, path, found.entries)
        yield archive


def upload_name(path: Path) -> str:
    """Return the name of the uploaded file. Without its suffix, it is the data set's default name."""
    return readable(f"{path.resolve().name}.zip" if path.is_dir() else path.name)


def readable(name: str | Path) -> str:
    """Return a file's name for people: each byte that is not UTF-8 is written as \\xNN."""
    return os.fsencode(name).decode(errors="backslashreplace")


@dataclass
class _Gathering:
    """What a folder has: its files and folders, and the parts that cannot be sent."""

    root: Path
    entries: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, folder: Path, above: tuple[tuple[int, int], ...], *, linked: bool = False) -> None:
        """Add all that is in `folder`. Links are followed once: `linked` means that a link has led here.

        `above` has the identities of the folder and of all above it.
        """
        try:
            inside = sorted(folder.iterdir())
        except OSError as error:
            self._refuse(folder, f"this folder cannot be read ({error.strerror})")
            return
        for entry in inside:
            try:
                self._add_entry(entry, above, linked=linked)
            except OSError as error:
                self._refuse(entry, f"this cannot be read ({error.strerror})")

    def _add_entry(self, entry: Path, above: tuple[tuple[int, int], ...], *, linked: bool) -> None:
        if not _is_unicode(entry.name):
            self._refuse(entry, "its name is not UTF-8; rename it")
        elif entry.is_dir():
            self._add_folder(entry, above, linked=linked)
        elif entry.is_file():
            self._add_file(entry)
        else:
            kind = "a link that leads nowhere" if entry.is_symlink() else "neither a file nor a folder"
            self._refuse(entry, f"this is {kind}; remove it")

    def _add_folder(self, entry: Path, above: tuple[tuple[int, int], ...], *, linked: bool) -> None:
        identity, is_link = _identity(entry), entry.is_symlink()
        if identity in above:
            self._refuse(entry, "this link leads to a folder that contains it; remove it")
        elif is_link and linked:
            self._refuse(entry, "this is a link inside of a linked folder; put the folder itself there")
        else:
            self.entries.append(entry)
            self.add(entry, (*above, identity), linked=linked or is_link)

    def _add_file(self, entry: Path) -> None:
        if os.access(entry, os.R_OK):
            self.entries.append(entry)
        else:
            self._refuse(entry, f"this file cannot be read ({os.strerror(errno.EACCES)})")

    def _refuse(self, entry: Path, why: str) -> None:
        self.problems.append(f"{readable(entry.relative_to(self.root))}: {why}")


def _write(archive: Path, root: Path, entries: list[Path]) -> None:
    """Write the zip. Raises `OSError`; if the disk is full, it names the folder that needs room."""
    try:
        # strict_timestamps: some archive tools leave files dated before 1980, which a zip cannot store.
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as file:
            for entry in entries:
                file.write(entry, entry.relative_to(root))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        temporary = archive.parent.parent
        raise FolderUnreadableError(
            f"{temporary} has no room for a zip of {readable(root)}; TMPDIR may name another folder."
        ) from error


def _sentences(root: Path, problems: list[str]) -> str:
    more = len(problems) - _MOST_NAMED
    named = "; ".join(problems[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
    return f"{readable(root)} was not sent. {named}."


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
