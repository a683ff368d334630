"""The rules for a zip of images, checked against its directory alone, before anything is unpacked.

    shoe/1.png  bag/1.jpg ...       one folder per class; class ids follow the order of the names or numbers
    1.png  2.webp ...               no folders: the images have no labels

One folder around all classes is ignored. Nothing is repaired or renamed: an unusual archive is refused.
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

MAX_ENTRIES: Final = 200_000
MAX_EXPANDED_BYTES: Final = 20 * 2**30
MAX_FILE_BYTES: Final = 64 * 2**20
# Images hardly shrink in a zip; a zip bomb expands to a thousand times its size.
MAX_RATIO: Final = 200
MAX_CLASSES: Final = 1_000
MIN_IMAGES: Final = 64
MIN_IMAGES_PER_CLASS: Final = 2
MAX_LABEL_LENGTH: Final = 100
# The problems are stored with the data set, and shown.
MAX_PROBLEMS: Final = 100

_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp")
_ARCHIVES: Final = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst", ".jar", ".iso")
_PICKLES: Final = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
# File managers add these to every zip. They are neither read nor counted.
_IGNORED: Final = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
_FILE_TYPES: Final = (0, stat.S_IFREG, stat.S_IFDIR)
_ENCRYPTED: Final = 0x1 | 0x40
_LOCAL_HEADER_BYTES: Final = 30
_UNREADABLE: Final = (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, struct.error)


@dataclass(frozen=True)
class ArchiveProblem:
    """One thing that is wrong with a file of the archive, or with the archive as a whole (`file` is None).

    `code` is stable, for programs; `detail` is a sentence, for people.
    """

    file: str | None
    code: str
    detail: str

    def to_json(self) -> dict[str, str | None]:
        """Return the fields as a dict."""
        return {"file": self.file, "code": self.code, "detail": self.detail}


class ArchiveRefusedError(Exception):
    """The archive cannot become a data set.

    `problems` has every reason; if there are very many, the first ones of each code and the number of the others.
    """

    def __init__(self, problems: Sequence[ArchiveProblem], *, complete: bool = True) -> None:
        """Keep at most `MAX_PROBLEMS` of `problems`; `complete` is false where some files were not checked."""
        self.problems, left_out = _first_of_each_code(problems)
        notes = [f"Further problems that are not listed: {len(left_out):,}."] if left_out else []
        if not complete:
            notes.append("The remaining images were not checked.")
        if notes:
            self.problems.append(ArchiveProblem(None, (left_out or problems)[-1].code, " ".join(notes)))
        super().__init__(" ".join(p.detail for p in self.problems))


def _first_of_each_code(
    problems: Sequence[ArchiveProblem],
) -> tuple[list[ArchiveProblem], list[ArchiveProblem]]:
    """Return `MAX_PROBLEMS` of `problems`, and the others, both in order.

    The first problems of each code are preferred, so that a thousand of one code do not hide those of another.
    """
    seen: Counter[str] = Counter()
    ranks: list[int] = []
    for problem in problems:
        ranks.append(seen[problem.code])
        seen[problem.code] += 1
    listed = set(sorted(range(len(problems)), key=ranks.__getitem__)[:MAX_PROBLEMS])
    return (
        [problem for number, problem in enumerate(problems) if number in listed],
        [problem for number, problem in enumerate(problems) if number not in listed],
    )


@dataclass(frozen=True)
class ArchiveContents:
    """The images of an archive in order, as (name, class id), and the class labels.

    Without classes there are no labels, and all class ids are 0.
    """

    files: tuple[tuple[str, int], ...]
    labels: tuple[str, ...]


def read(path: Path) -> ArchiveContents:
    """Return the images and labels of the zip at `path`. Raises `ArchiveRefusedError`."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except _UNREADABLE as error:
        detail = f"The file is not a readable zip archive: {str(error).rstrip('.')[:200]}."
        raise ArchiveRefusedError([ArchiveProblem(None, "corrupt-archive", detail)]) from None
    if len(entries) > MAX_ENTRIES:
        detail = f"The archive has {len(entries):,} entries; the limit is {MAX_ENTRIES:,}."
        raise ArchiveRefusedError([ArchiveProblem(None, "unsafe-archive", detail)])
    # If the archive could do harm, nothing else is checked.
    for check in (_unsafe_entries, _size_problems):
        if found := list(check(entries, path)):
            raise ArchiveRefusedError(found)
    return _contents(entries)


def shown(name: str) -> str:
    """Return a name from the archive in quotes, escaped and at most 200 characters long, for use in a sentence."""
    return repr(name[:200])


def _unsafe_entries(entries: Sequence[zipfile.ZipInfo], path: Path) -> Iterator[ArchiveProblem]:
    """Yield a problem for each entry with a property that image archives do not need and attackers use."""
    known: dict[str, str] = {}
    for number, entry in enumerate(entries, 1):
        # `filename` ends at the first NUL; `orig_filename` is the whole name.
        name = entry.orig_filename
        key = unicodedata.normalize("NFC", name).casefold().rstrip("/")
        if reason := _unsafe_property(entry, name):
            yield ArchiveProblem(name[:200], "unsafe-archive", f"Entry {number}, {shown(name)}: {reason}.")
        elif key in known:
            reason = f"it has the same name as {shown(known[key])}, or differs only in upper and lower case"
            yield ArchiveProblem(name[:200], "unsafe-archive", f"Entry {number}, {shown(name)}: {reason}.")
        known[key] = name


def _unsafe_property(entry: zipfile.ZipInfo, name: str) -> str | None:
    parts = name.removesuffix("/").split("/")
    if not name.isprintable() or "\\" in name or len(name) > 1000:
        return "the name contains unprintable characters or a backslash, or is longer than 1,000 characters"
    if name.startswith("/") or name[1:2] == ":":
        return "the name is an absolute path"
    if ".." in parts:
        return "the path leaves the archive"
    if "" in parts or "." in parts:
        return "the path has an empty part or the part '.'"
    if stat.S_IFMT(entry.external_attr >> 16) not in _FILE_TYPES:
        return "it is a link or a device, not a file"
    if entry.flag_bits & _ENCRYPTED:
        return "it is encrypted"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "it uses a compression method other than deflate, which every zip program supports"
    return None


def _size_problems(entries: Sequence[zipfile.ZipInfo], path: Path) -> Iterator[ArchiveProblem]:
    """Yield the problems with sizes: an archive or a file that expands too much, and entries that overlap."""
    size, expanded = path.stat().st_size, sum(entry.file_size for entry in entries)
    if expanded > MAX_EXPANDED_BYTES:
        limit = f"the limit is {MAX_EXPANDED_BYTES // 2**30} GiB"
        detail = f"The archive expands to {expanded / 2**30:,.1f} GiB; {limit}."
        yield ArchiveProblem(None, "archive-too-large", detail)
    elif expanded > MAX_RATIO * size:
        detail = f"The archive expands to {expanded / size:,.0f} times its size; the limit is {MAX_RATIO} times."
        yield ArchiveProblem(None, "archive-too-large", detail)
    for entry in entries:
        if entry.file_size > MAX_FILE_BYTES:
            limit = f"the limit is {MAX_FILE_BYTES // 2**20} MiB"
            detail = f"{shown(entry.filename)} has {entry.file_size / 2**20:,.0f} MiB; {limit}."
            yield ArchiveProblem(entry.filename, "image-too-large", detail)
    end = 0
    for entry in sorted(entries, key=lambda e: e.header_offset):
        if entry.header_offset < end:
            detail = f"{shown(entry.filename)} overlaps another entry of the archive."
            yield ArchiveProblem(entry.filename, "unsafe-archive", detail)
        end = entry.header_offset + _LOCAL_HEADER_BYTES + entry.compress_size


def _is_ignored(name: str) -> bool:
    return any(part in _IGNORED for part in name.rstrip("/").split("/"))


def _contents(entries: Sequence[zipfile.ZipInfo]) -> ArchiveContents:
    """Return the images by class and name.

    Raises `ArchiveRefusedError` with all problems of file types, counts and folders.
    """
    kept = [entry for entry in entries if not _is_ignored(entry.filename)]
    names = sorted(entry.filename for entry in kept if not entry.is_dir())
    others = [name for name in names if _suffix(name) not in _SUFFIXES]
    # Only images count, and only images decide which folders are the classes: `depth` folders lie around these.
    paths, depth = {name: name.split("/") for name in names if _suffix(name) in _SUFFIXES}, 0
    while all(len(path) > depth + 2 for path in paths.values()) and len({p[depth] for p in paths.values()}) == 1:
        depth += 1
    folders = {name: path[depth:-1] for name, path in paths.items()}
    counts = Counter(folder[0] for folder in folders.values() if folder)
    directories = [entry.filename.rstrip("/").split("/")[depth:] for entry in kept if entry.is_dir()]
    # A folder that holds only files of other types is reported through those files.
    filled = {*counts, *(name.split("/")[depth] for name in others if name.count("/") > depth)}
    empty = {directory[0] for directory in directories if directory} - filled
    problems = [
        *_other_files(others),
        *_wrong_counts(folders, counts, empty),
        *_wrong_folders(folders, counts, empty),
    ]
    if problems:
        raise ArchiveRefusedError(problems)
    # If all folder names are numbers, the classes are in numerical order: 2 comes before 10.
    numbers = all(label.isascii() and label.isdecimal() for label in counts)
    labels = tuple(sorted(counts, key=lambda label: (int(label) if numbers else 0, label)))
    ids = {label: number for number, label in enumerate(labels)}
    files = ((name, ids[folder[0]] if folder else 0) for name, folder in folders.items())
    return ArchiveContents(tuple(sorted(files, key=lambda file: (file[1], file[0]))), labels)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


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
    return ArchiveProblem(name, "unsupported-image", detail)


def _wrong_counts(folders: dict[str, list[str]], counts: Counter[str], empty: set[str]) -> Iterator[ArchiveProblem]:
    """Yield the problems with the number of images and of classes.

    `folders` maps each image to the folders that it lies in, `counts` each class to its number of images; `empty` has
    the class folders without files.
    """
    if len(folders) < MIN_IMAGES:
        detail = f"The archive has {len(folders)} images; at least {MIN_IMAGES} are needed."
        yield ArchiveProblem(None, "dataset-too-small", detail)
    if len(counts) == 1 and all(folders.values()) and not empty:
        detail = f"All images are in one folder, {shown(*counts)}, so there is only one class. Put the images at the "
        detail += "top level for a data set without labels, or add a second class."
        yield ArchiveProblem(None, "one-class", detail)
    if len(counts) > MAX_CLASSES:
        detail = f"The archive has {len(counts):,} classes; the limit is {MAX_CLASSES:,}."
        yield ArchiveProblem(None, "bad-layout", detail)


def _wrong_folders(folders: dict[str, list[str]], counts: Counter[str], empty: set[str]) -> Iterator[ArchiveProblem]:
    """Yield the problems with images in a wrong place and with single classes; arguments as in `_wrong_counts`."""
    for name, folder in folders.items():
        if len(folder) > 1:
            detail = f"{shown(name)} is nested too deep: each class must be one folder that contains only images."
            yield ArchiveProblem(name, "bad-layout", detail)
        elif counts and not folder:
            detail = f"{shown(name)} is beside the class folders: put every image into a folder, or none."
            yield ArchiveProblem(name, "bad-layout", detail)
    for label in sorted(empty):
        yield ArchiveProblem(label, "empty-class", f"The folder {shown(label)} has no images.")
    for label, count in sorted(counts.items()):
        if not label.strip() or len(label) > MAX_LABEL_LENGTH:
            detail = f"The name of a class folder must have 1 to {MAX_LABEL_LENGTH} characters, not {shown(label)}."
            yield ArchiveProblem(label, "bad-layout", detail)
        if count < MIN_IMAGES_PER_CLASS:
            detail = f"The class {shown(label)} has {count} image; at least {MIN_IMAGES_PER_CLASS} are needed."
            yield ArchiveProblem(label, "dataset-too-small", detail)
