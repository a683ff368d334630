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
# They are kept with the data set, and shown.
MOST_TOLD: Final = 100

_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp")
_ARCHIVES: Final = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst", ".jar", ".iso")
_PICKLES: Final = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
# What file managers leave in every zip; neither read nor counted.
_LITTER: Final = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
_PLAIN: Final = (0, stat.S_IFREG, stat.S_IFDIR)
_ENCRYPTED: Final = 0x1 | 0x40
_LOCAL_HEADER_BYTES: Final = 30
_UNREADABLE: Final = (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, struct.error)


@dataclass(frozen=True)
class ArchiveProblem:
    """One thing that is wrong: with a file of the archive, or with the whole (None). `code` is for machines."""

    file: str | None
    code: str
    detail: str

    def to_json(self) -> dict[str, str | None]:
        return {"file": self.file, "code": self.code, "detail": self.detail}


class ArchiveRefusedError(Exception):
    """The archive cannot become a data set; `problems` names every reason, or of very many the first of each kind."""

    def __init__(self, problems: Sequence[ArchiveProblem], *, looked_at_all: bool = True) -> None:
        self.problems, left_out = _the_first(problems)
        rest = [f"So it is with {len(left_out):,} more."] if left_out else []
        if not looked_at_all:
            rest.append("It was looked at no further.")
        if rest:
            self.problems.append(ArchiveProblem(None, (left_out or problems)[-1].code, " ".join(rest)))
        super().__init__(" ".join(p.detail for p in self.problems))


def _the_first(problems: Sequence[ArchiveProblem]) -> tuple[list[ArchiveProblem], list[ArchiveProblem]]:
    """As many as are told, and the others, both in their order: a thousand of one kind leave room for the next."""
    seen: Counter[str] = Counter()
    ranks: list[int] = []
    for problem in problems:
        ranks.append(seen[problem.code])
        seen[problem.code] += 1
    told = set(sorted(range(len(problems)), key=ranks.__getitem__)[:MOST_TOLD])
    return (
        [problem for number, problem in enumerate(problems) if number in told],
        [problem for number, problem in enumerate(problems) if number not in told],
    )


@dataclass(frozen=True)
class ArchiveContents:
    """The images of an archive, (name, class id) each, in order; without classes no labels, and all ids 0."""

    files: tuple[tuple[str, int], ...]
    labels: tuple[str, ...]


def read(path: Path) -> ArchiveContents:
    """What is in the zip at `path`. Raises `Refused`."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except _UNREADABLE as error:
        detail = f"The file is not a zip archive that can be read: {str(error).rstrip('.')[:200]}."
        raise ArchiveRefusedError([ArchiveProblem(None, "corrupt-archive", detail)]) from None
    if len(entries) > MOST_ENTRIES:
        detail = f"The archive has {len(entries):,} entries; {MOST_ENTRIES:,} is the most that is taken."
        raise ArchiveRefusedError([ArchiveProblem(None, "unsafe-archive", detail)])
    # In an archive that could do harm nothing else is looked at.
    for check in (_unsafe, _bombs):
        if found := list(check(entries, path)):
            raise ArchiveRefusedError(found)
    return _sorted(entries)


def shown(name: str) -> str:
    """A name from the archive as it may stand in a sentence."""
    return repr(name[:200])


def _unsafe(entries: Sequence[zipfile.ZipInfo], path: Path) -> Iterator[ArchiveProblem]:
    """What no archive of images needs, and what has been used to do harm."""
    known: dict[str, str] = {}
    for number, entry in enumerate(entries, 1):
        # `filename` is cut off at a NUL.
        name = entry.orig_filename
        key = unicodedata.normalize("NFC", name).casefold().rstrip("/")
        if reason := _harm(entry, name):
            yield ArchiveProblem(name[:200], "unsafe-archive", f"Entry {number}, {shown(name)}: {reason}.")
        elif key in known:
            reason = f"has the same name as {shown(known[key])}, or differs in upper and lower case alone"
            yield ArchiveProblem(name[:200], "unsafe-archive", f"Entry {number}, {shown(name)}: {reason}.")
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


def _bombs(entries: Sequence[zipfile.ZipInfo], path: Path) -> Iterator[ArchiveProblem]:
    """What would grow beyond all measure."""
    size, expanded = path.stat().st_size, sum(entry.file_size for entry in entries)
    if expanded > MOST_EXPANDED_BYTES:
        detail = f"The archive expands to {expanded / 2**30:,.1f} GiB; {MOST_EXPANDED_BYTES // 2**30} is the most."
        yield ArchiveProblem(None, "archive-too-large", detail)
    elif expanded > HIGHEST_RATIO * size:
        detail = f"The archive expands to {expanded / size:,.0f} times its size; {HIGHEST_RATIO} is the most."
        yield ArchiveProblem(None, "archive-too-large", detail)
    for entry in entries:
        if entry.file_size > MOST_FILE_BYTES:
            detail = f"{shown(entry.filename)} has {entry.file_size / 2**20:,.0f} MiB; "
            yield ArchiveProblem(
                entry.filename, "image-too-large", f"{detail}{MOST_FILE_BYTES // 2**20} is the most."
            )
    end = 0
    for entry in sorted(entries, key=lambda e: e.header_offset):
        if entry.header_offset < end:
            detail = f"{shown(entry.filename)} lies over another entry of the archive."
            yield ArchiveProblem(entry.filename, "unsafe-archive", detail)
        end = entry.header_offset + _LOCAL_HEADER_BYTES + entry.compress_size


def _is_litter(name: str) -> bool:
    return any(part in _LITTER for part in name.rstrip("/").split("/"))


def _sorted(entries: Sequence[zipfile.ZipInfo]) -> ArchiveContents:
    """The images by class and name. Raises `Refused`, with all that is wrong with files, numbers and folders."""
    kept = [entry for entry in entries if not _is_litter(entry.filename)]
    names = sorted(entry.filename for entry in kept if not entry.is_dir())
    others = [name for name in names if _suffix(name) not in _SUFFIXES]
    # Only images are counted, and only they say where the classes lie.
    paths, around = {name: name.split("/") for name in names if _suffix(name) in _SUFFIXES}, 0
    while all(len(path) > around + 2 for path in paths.values()) and len({p[around] for p in paths.values()}) == 1:
        around += 1
    places = {name: path[around:-1] for name, path in paths.items()}
    counts = Counter(place[0] for place in places.values() if place)
    folders = [entry.filename.rstrip("/").split("/")[around:] for entry in kept if entry.is_dir()]
    # A folder with nothing but files of other kinds is told by these.
    filled = {*counts, *(name.split("/")[around] for name in others if name.count("/") > around)}
    empty = {folder[0] for folder in folders if folder} - filled
    about_all, about_one = _wrong_as_a_whole(places, counts, empty), _misplaced(places, counts, empty)
    if found := [*_of_other_kinds(others), *about_all, *about_one]:
        raise ArchiveRefusedError(found)
    # Folders that are numbers stand in the order of those: the class of the folder 2 is not the eleventh.
    numbers = all(label.isascii() and label.isdecimal() for label in counts)
    labels = tuple(sorted(counts, key=lambda label: (int(label) if numbers else 0, label)))
    ids = {label: number for number, label in enumerate(labels)}
    files = ((name, ids[place[0]] if place else 0) for name, place in places.items())
    return ArchiveContents(tuple(sorted(files, key=lambda file: (file[1], file[0]))), labels)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _of_other_kinds(names: Sequence[str]) -> list[ArchiveProblem]:
    """Archives and pickles first: the first problem's code is that of the whole refusal."""
    return sorted(map(_of_another_kind, names), key=lambda problem: problem.code == "unsupported-image")


def _of_another_kind(name: str) -> ArchiveProblem:
    if _suffix(name) in _ARCHIVES:
        return ArchiveProblem(name, "unsafe-archive", f"{shown(name)} is an archive inside the archive.")
    if _suffix(name) in _PICKLES:
        detail = f"{shown(name)} is a pickle by its name, which can run anything and is never opened."
        return ArchiveProblem(name, "pickle-not-accepted", detail)
    detail = f"{shown(name)} is no image by its name; PNG, JPEG and WebP are taken."
    return ArchiveProblem(name, "unsupported-image", detail)


def _wrong_as_a_whole(
    places: dict[str, list[str]], counts: Counter[str], empty: set[str]
) -> Iterator[ArchiveProblem]:
    """How many images there are, and how many classes."""
    if len(places) < FEWEST_IMAGES:
        detail = f"The archive has {len(places)} images; {FEWEST_IMAGES} is the least."
        yield ArchiveProblem(None, "dataset-too-small", detail)
    if len(counts) == 1 and all(places.values()) and not empty:
        detail = f"All images lie in one folder, {shown(*counts)}, and one class is none: put them at the top, "
        yield ArchiveProblem(None, "one-class", detail + "for a data set without labels, or add a second class.")
    if len(counts) > MOST_CLASSES:
        detail = f"The archive has {len(counts):,} classes; {MOST_CLASSES:,} is the most."
        yield ArchiveProblem(None, "bad-layout", detail)


def _misplaced(places: dict[str, list[str]], counts: Counter[str], empty: set[str]) -> Iterator[ArchiveProblem]:
    """Images that lie where none should, and folders that are no classes."""
    for name, place in places.items():
        if len(place) > 1:
            detail = f"{shown(name)} lies too deep: put each class into one folder, with nothing but images in it."
            yield ArchiveProblem(name, "bad-layout", detail)
        elif counts and not place:
            detail = f"{shown(name)} lies beside the folders of classes: put every image into a folder, or none."
            yield ArchiveProblem(name, "bad-layout", detail)
    for label in sorted(empty):
        yield ArchiveProblem(label, "empty-class", f"The folder {shown(label)} has no images.")
    for label, count in sorted(counts.items()):
        if not label.strip() or len(label) > LONGEST_LABEL:
            detail = f"A class's folder needs a name of 1 to {LONGEST_LABEL} characters, not {shown(label)}."
            yield ArchiveProblem(label, "bad-layout", detail)
        if count < FEWEST_IN_A_CLASS:
            detail = f"The class {shown(label)} has {count} image; {FEWEST_IN_A_CLASS} is the least."
            yield ArchiveProblem(label, "dataset-too-small", detail)
