"""The rules for a zip of images, checked against its directory alone, before anything is unpacked.

    shoe/1.png  bag/1.jpg ...       one folder per class; class ids follow the order of the names or numbers
    1.png  2.webp ...               no folders: the images have no labels

Folders around all classes are ignored. Nothing is renamed: an archive with a name that could do harm is refused.
"""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from posixpath import splitext
from typing import Final

from gan.uploads import names
from gan.uploads.layout import Layout
from gan.uploads.names import Listing, NamedEntry, shown
from gan.uploads.problems import ArchiveProblem, ArchiveRefusedError

MAX_ENTRIES: Final = 200_000
MAX_EXPANDED_BYTES: Final = 20 * 2**30
MAX_FILE_BYTES: Final = 64 * 2**20
# Images hardly shrink in a zip; a zip bomb expands to a thousand times its size.
MAX_RATIO: Final = 200

_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp")
_ARCHIVES: Final = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst", ".jar", ".iso")
_PICKLES: Final = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
# Files in which other tools keep the labels of images.
_TABLES: Final = (".json", ".jsonl", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".parquet")
_FILE_TYPES: Final = (0, stat.S_IFREG, stat.S_IFDIR)
_ENCRYPTED: Final = 0x1 | 0x40
_LOCAL_HEADER_BYTES: Final = 30
_UNREADABLE: Final = (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, struct.error)


@dataclass(frozen=True)
class ArchiveImage:
    """An image of an archive: its name, its class id, and its entry in the zip."""

    name: str
    class_id: int
    entry: zipfile.ZipInfo


@dataclass(frozen=True)
class ArchiveContents:
    """The images of an archive in order of class and name, the class labels, and notes for the user.

    Without classes there are no labels, and all class ids are 0. The notes say how the archive was read where that
    was a choice, and what was left out.
    """

    files: tuple[ArchiveImage, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read(path: Path) -> ArchiveContents:
    """Return the images and labels of the zip at `path`. Raises `ArchiveRefusedError`."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except UnicodeDecodeError:
        detail = "A name in the zip is marked as UTF-8, but is not UTF-8. Make the zip anew, with another program."
        raise ArchiveRefusedError([ArchiveProblem(None, "corrupt-archive", detail)]) from None
    except _UNREADABLE as error:
        detail = f"The file is not a readable zip archive: {str(error).rstrip('.')[:200]}."
        raise ArchiveRefusedError([ArchiveProblem(None, "corrupt-archive", detail)]) from None
    if len(entries) > MAX_ENTRIES:
        detail = f"The archive has {len(entries):,} entries; the limit is {MAX_ENTRIES:,}."
        raise ArchiveRefusedError([ArchiveProblem(None, "unsafe-archive", detail)])
    listing = names.listing(entries)
    # If the archive could do harm, nothing else is checked.
    for check in (_unsafe_entries, _size_problems):
        if found := list(check(listing.entries, path)):
            raise ArchiveRefusedError(found)
    return _contents(listing)


def _unsafe_entries(entries: Sequence[NamedEntry], path: Path) -> Iterator[ArchiveProblem]:
    """Yield a problem for each entry with a property that image archives do not need and attackers use."""
    known: dict[str, NamedEntry] = {}
    for entry in entries:
        reason = names.harm(entry) or _unsafe_property(entry.info)
        # Not casefold(), for which "Masse" and "Maße" are one word.
        other = known.setdefault(entry.path.lower(), entry)
        if reason is None and other is not entry and not (entry.is_folder and other.is_folder):
            reason = f"it has the same name as {shown(other.text)}, or differs only in upper and lower case"
        if reason is not None:
            detail = f"Entry {entry.number}, {shown(entry.text)}: {reason}."
            yield ArchiveProblem(entry.text[:200], "unsafe-archive", detail)


def _unsafe_property(info: zipfile.ZipInfo) -> str | None:
    if stat.S_IFMT(info.external_attr >> 16) not in _FILE_TYPES:
        return "it is a link or a device, not a file"
    if info.flag_bits & _ENCRYPTED:
        return "it is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "it uses a compression method other than deflate, which every zip program supports"
    return None


def _size_problems(entries: Sequence[NamedEntry], path: Path) -> Iterator[ArchiveProblem]:
    """Yield the problems with sizes: an archive or a file that expands too much, and entries that overlap."""
    size, expanded = path.stat().st_size, sum(entry.info.file_size for entry in entries)
    if expanded > MAX_EXPANDED_BYTES:
        limit = f"the limit is {MAX_EXPANDED_BYTES // 2**30} GiB"
        detail = f"The archive expands to {expanded / 2**30:,.1f} GiB; {limit}."
        yield ArchiveProblem(None, "archive-too-large", detail)
    elif expanded > MAX_RATIO * size:
        detail = f"The archive expands to {expanded / size:,.0f} times its size; the limit is {MAX_RATIO} times."
        yield ArchiveProblem(None, "archive-too-large", detail)
    for entry in entries:
        if entry.info.file_size > MAX_FILE_BYTES:
            limit = f"the limit is {MAX_FILE_BYTES // 2**20} MiB"
            detail = f"{shown(entry.path)} has {entry.info.file_size / 2**20:,.0f} MiB; {limit}."
            yield ArchiveProblem(entry.path, "image-too-large", detail)
    end = 0
    for entry in sorted(entries, key=lambda e: e.info.header_offset):
        if entry.info.header_offset < end:
            detail = f"{shown(entry.path)} overlaps another entry of the archive."
            yield ArchiveProblem(entry.path, "unsafe-archive", detail)
        end = entry.info.header_offset + _LOCAL_HEADER_BYTES + entry.info.compress_size


def _contents(listing: Listing) -> ArchiveContents:
    """Return the images by class and name.

    Raises `ArchiveRefusedError` with all problems of file types, counts and folders.
    """
    entries = {entry.path: entry for entry in listing.entries if not entry.is_folder}
    others = sorted(path for path in entries if _suffix(path) not in _SUFFIXES)
    layout = Layout.of(
        {path: entry.parts for path, entry in sorted(entries.items()) if _suffix(path) in _SUFFIXES},
        folders=[entry.parts for entry in listing.entries if entry.is_folder],
        others=[entries[path].parts for path in others],
    )
    if problems := [*_other_files(others), *layout.problems()]:
        raise ArchiveRefusedError(problems)
    ids = {label: number for number, label in enumerate(layout.labels)}
    files = (ArchiveImage(name, ids.get(label, 0), entries[name].info) for name, label in layout.label_of.items())
    in_order = tuple(sorted(files, key=lambda file: (file.class_id, file.name)))
    return ArchiveContents(in_order, layout.labels, (*listing.notes, *layout.notes))


def _suffix(name: str) -> str:
    return splitext(name)[1].lower()


def _other_files(names: Sequence[str]) -> list[ArchiveProblem]:
    """Return a problem for each file that is no image by its name.

    Archives and pickles come first, because the code of the first problem is that of the whole refusal.
    """
    return sorted(map(_other_file, names), key=lambda problem: problem.code == "unsupported-image")


def _other_file(name: str) -> ArchiveProblem:
    if _suffix(name) in _ARCHIVES:
        return ArchiveProblem(name, "unsafe-archive", f"{shown(name)} is an archive inside the archive.")
    if _suffix(name) in _PICKLES:
        detail = f"{shown(name)} is a pickle by its name. A pickle can run any program, so it is never opened."
        return ArchiveProblem(name, "pickle-not-accepted", detail)
    detail = f"{shown(name)} is not an image by its name. PNG, JPEG and WebP images are accepted."
    if _suffix(name) in _TABLES:
        detail += " Labels are not read from files: a class is a folder, and the name of the folder is its label."
    return ArchiveProblem(name, "unsupported-image", detail)
