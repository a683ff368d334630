"""What a zip of images may be, judged by its directory alone: before a byte of it is unpacked.

    shoe/1.png  bag/1.jpg ...       a folder a class, in the order of their names or numbers
    1.png  2.webp ...               no folder: the images carry no labels

One folder around all of the classes is looked through. Nothing is repaired or renamed: what is odd is refused.
"""

from __future__ import annotations

import stat
import struct
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

MOST_ENTRIES: Final = 200_000
MOST_EXPANDED_BYTES: Final = 20 * 2**30
MOST_FILE_BYTES: Final = 64 * 2**20
# An ordinary zip of images is hardly smaller than they are; a bomb is a thousand times smaller.
HIGHEST_RATIO: Final = 200
MOST_CLASSES: Final = 1_000
FEWEST_IMAGES: Final = 64
FEWEST_IN_A_CLASS: Final = 2
LONGEST_LABEL: Final = 100

_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp")
_ARCHIVES: Final = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst", ".jar", ".iso")
_PICKLES: Final = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
# What file managers leave in every zip; neither read nor counted.
_LITTER: Final = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
_PLAIN: Final = (0, stat.S_IFREG, stat.S_IFDIR)
_ENCRYPTED: Final = 0x1 | 0x40
_LOCAL_HEADER_BYTES: Final = 30
_MOST_TOLD: Final = 20
_UNREADABLE: Final = (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, struct.error)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: with a file of the archive, or with the whole (None). `code` is for machines."""

    file: str | None
    code: str
    detail: str

    def to_json(self) -> dict[str, str | None]:
        return {"file": self.file, "code": self.code, "detail": self.detail}


class Refused(Exception):
    """The archive cannot become a data set; `problems` names every reason, the first ones where there are many."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems[:_MOST_TOLD])
        if len(problems) > _MOST_TOLD:
            more = f"So it is with {len(problems) - _MOST_TOLD:,} more."
            self.problems.append(Problem(None, problems[-1].code, more))
        super().__init__(" ".join(p.detail for p in self.problems))


@dataclass(frozen=True)
class Contents:
    """The images of an archive, (name, class id) each, in order; without classes no labels, and all ids 0."""

    files: tuple[tuple[str, int], ...]
    labels: tuple[str, ...]


def read(path: Path) -> Contents:
    """What is in the zip at `path`. Raises `Refused`."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except _UNREADABLE as error:
        detail = f"The file is not a zip archive that can be read: {str(error).rstrip('.')[:200]}."
        raise Refused([Problem(None, "corrupt-archive", detail)]) from None
    if len(entries) > MOST_ENTRIES:
        detail = f"The archive has {len(entries):,} entries; {MOST_ENTRIES:,} is the most that is taken."
        raise Refused([Problem(None, "unsafe-archive", detail)])
    for check in (_unsafe, _bombs, _of_other_kinds):
        if found := list(check(entries, path)):
            raise Refused(found)
    return _sorted(entries)


def shown(name: str) -> str:
    """A name from the archive as it may stand in a sentence."""
    return repr(name[:200])


def _unsafe(entries: Sequence[zipfile.ZipInfo], path: Path) -> Iterator[Problem]:
    """What no archive of images needs, and what has been used to do harm."""
    known: dict[str, str] = {}
    for number, entry in enumerate(entries, 1):
        # `filename` is cut off at a NUL.
        name = entry.orig_filename
        key = unicodedata.normalize("NFC", name).casefold().rstrip("/")
        if reason := _harm(entry, name):
            yield Problem(name[:200], "unsafe-archive", f"Entry {number}, {shown(name)}: {reason}.")
        elif key in known:
            reason = f"has the same name as {shown(known[key])}, or differs in upper and lower case alone"
            yield Problem(name[:200], "unsafe-archive", f"Entry {number}, {shown(name)}: {reason}.")
        known[key] = name


def _harm(entry: zipfile.ZipInfo, name: str) -> str | None:
    parts = name.removesuffix("/").split("/")
    if not name.isprintable() or "\\" in name or len(name) > 1000:
        return "the name holds characters that no name should, a backslash, or is longer than 1,000"
    if name.startswith("/") or name[1:2] == ":":
        return "the name is absolute"
    if ".." in parts:
        return "the path leaves the archive"
    if "" in parts or "." in parts:
        return "the path has an empty part"
    if stat.S_IFMT(entry.external_attr >> 16) not in _PLAIN:
        return "it is a link or a device, and not a file"
    if entry.flag_bits & _ENCRYPTED:
        return "it is encrypted"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "it is compressed in a way other than deflate, as every zip program can"
    return None


def _bombs(entries: Sequence[zipfile.ZipInfo], path: Path) -> Iterator[Problem]:
    """What would grow beyond all measure."""
    size, expanded = path.stat().st_size, sum(entry.file_size for entry in entries)
    if expanded > MOST_EXPANDED_BYTES:
        detail = f"The archive expands to {expanded / 2**30:,.1f} GiB; {MOST_EXPANDED_BYTES // 2**30} is the most."
        yield Problem(None, "archive-too-large", detail)
    elif expanded > HIGHEST_RATIO * size:
        detail = f"The archive expands to {expanded / size:,.0f} times its size; {HIGHEST_RATIO} is the most."
        yield Problem(None, "archive-too-large", detail)
    for entry in entries:
        if entry.file_size > MOST_FILE_BYTES:
            detail = f"{shown(entry.filename)} has {entry.file_size / 2**20:,.0f} MiB; "
            yield Problem(entry.filename, "image-too-large", f"{detail}{MOST_FILE_BYTES // 2**20} is the most.")
    end = 0
    for entry in sorted(entries, key=lambda e: e.header_offset):
        if entry.header_offset < end:
            detail = f"{shown(entry.filename)} lies over another entry of the archive."
            yield Problem(entry.filename, "unsafe-archive", detail)
        end = entry.header_offset + _LOCAL_HEADER_BYTES + entry.compress_size


def _of_other_kinds(entries: Sequence[zipfile.ZipInfo], path: Path) -> Iterator[Problem]:
    for entry in _files(entries):
        suffix = PurePosixPath(entry.filename).suffix.lower()
        if suffix in _ARCHIVES:
            detail = f"{shown(entry.filename)} is an archive inside the archive."
            yield Problem(entry.filename, "unsafe-archive", detail)
        elif suffix in _PICKLES:
            detail = f"{shown(entry.filename)} is a pickle by its name, which can run anything and is never opened."
            yield Problem(entry.filename, "pickle-not-accepted", detail)
        elif suffix not in _SUFFIXES:
            detail = f"{shown(entry.filename)} is no image by its name; PNG, JPEG and WebP are taken."
            yield Problem(entry.filename, "unsupported-image", detail)


def _files(entries: Sequence[zipfile.ZipInfo]) -> Iterator[zipfile.ZipInfo]:
    return (entry for entry in entries if not entry.is_dir() and not _is_litter(entry.filename))


def _is_litter(name: str) -> bool:
    return any(part in _LITTER for part in name.rstrip("/").split("/"))


def _sorted(entries: Sequence[zipfile.ZipInfo]) -> Contents:
    """The images by class and name. Raises `Refused` where they are too few or do not lie in classes."""
    names = sorted(entry.filename for entry in _files(entries))
    if len(names) < FEWEST_IMAGES:
        detail = f"The archive has {len(names)} images; {FEWEST_IMAGES} is the least."
        raise Refused([Problem(None, "dataset-too-small", detail)])
    paths, around = {name: name.split("/") for name in names}, 0
    while all(len(path) > around + 2 for path in paths.values()) and len({p[around] for p in paths.values()}) == 1:
        around += 1
    folders = (
        e.filename.rstrip("/").split("/")[around:] for e in entries if e.is_dir() and not _is_litter(e.filename)
    )
    declared = {folder[0] for folder in folders if folder}
    places = {name: path[around:-1] for name, path in paths.items()}
    counts = Counter(place[0] for place in places.values() if place)
    if found := list(_misplaced(places, counts, declared)):
        raise Refused(found)
    # Folders that are numbers stand in the order of those: the class of the folder 2 is not the eleventh.
    numbers = all(label.isascii() and label.isdecimal() for label in counts)
    labels = tuple(sorted(counts, key=lambda label: (int(label) if numbers else 0, label)))
    ids = {label: number for number, label in enumerate(labels)}
    files = ((name, ids[place[0]] if place else 0) for name, place in places.items())
    return Contents(tuple(sorted(files, key=lambda file: (file[1], file[0]))), labels)


def _misplaced(places: dict[str, list[str]], counts: Counter[str], declared: set[str]) -> Iterator[Problem]:
    for name, place in places.items():
        if len(place) > 1:
            detail = f"{shown(name)} lies too deep: put each class into one folder, with nothing but images in it."
            yield Problem(name, "bad-layout", detail)
    loose = [name for name, place in places.items() if not place]
    if counts and loose:
        detail = f"{shown(loose[0])} lies beside the folders of classes: put every image into a folder, or none."
        yield Problem(loose[0], "bad-layout", detail)
    if len(counts) == 1 and not loose and not (declared - counts.keys()):
        detail = f"All images lie in one folder, {shown(*counts)}, and one class is none: put them at the top, "
        yield Problem(None, "one-class", detail + "for a data set without labels, or add a second class.")
    for label in sorted(declared - counts.keys()):
        yield Problem(label, "empty-class", f"The folder {shown(label)} has no images.")
    for label, count in sorted(counts.items()):
        if not label.strip() or len(label) > LONGEST_LABEL:
            detail = f"A class's folder needs a name of 1 to {LONGEST_LABEL} characters, not {shown(label)}."
            yield Problem(label, "bad-layout", detail)
        elif count < FEWEST_IN_A_CLASS:
            detail = f"The class {shown(label)} has {count} image; {FEWEST_IN_A_CLASS} is the least."
            yield Problem(label, "dataset-too-small", detail)
    if len(counts) > MOST_CLASSES:
        detail = f"The archive has {len(counts):,} classes; {MOST_CLASSES:,} is the most."
        yield Problem(None, "bad-layout", detail)
