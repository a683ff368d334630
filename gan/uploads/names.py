"""The names in a zip as text: decoded and split once, set aside if they are litter, refused if they could do harm.

A name could do harm if it leaves the folder, looks like another name, or hides what it is. That a character is
unusual is no harm.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gan.spec.text import nfc
from gan.uploads.codepages import code_page_of
from gan.uploads.litter import is_litter

MAX_NAME_LENGTH: Final = 1_000
_UTF8_FLAG: Final = 0x800
_UNICODE_PATH: Final = 0x7075
# Programs of DOS and Windows write these systems into an entry; only there is a backslash no letter.
_WINDOWS: Final = (0, 10, 11, 14)
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_DIRECTION: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")
_DRIVE: Final = re.compile("[A-Za-z]:")


@dataclass(frozen=True)
class NamedEntry:
    """An entry of a zip: its number from 1, its name as text, the parts of its path without "." and empty ones."""

    info: zipfile.ZipInfo
    number: int
    text: str
    parts: tuple[str, ...]
    is_folder: bool

    @property
    def path(self) -> str:
        """The path in normal form C, with "/" between its parts: the name by which the file is known from here on."""
        return "/".join(self.parts)


@dataclass(frozen=True)
class Listing:
    """The entries of a zip that count, and sentences about how their names were read and what was set aside."""

    entries: tuple[NamedEntry, ...]
    notes: tuple[str, ...]


def shown(name: str) -> str:
    """Return a name from the archive in quotes, escaped and at most 200 characters long, for use in a sentence."""
    return repr(name[:200])


def listing(infos: Sequence[zipfile.ZipInfo]) -> Listing:
    """Return the entries with their names as text, without litter."""
    texts, notes = _texts(infos)
    slashes = any("/" in text for text in texts)
    kept: list[NamedEntry] = []
    litter: list[str] = []
    backslashes = False
    for number, (info, text) in enumerate(zip(infos, texts, strict=True), 1):
        separates = "\\" in text and (not slashes or info.create_system in _WINDOWS)
        backslashes |= separates
        path = text.replace("\\", "/") if separates else text
        parts = tuple(part for part in nfc(path).split("/") if part not in ("", "."))
        if not parts and not path.startswith("/"):
            continue  # the folder itself
        if is_litter(parts):
            litter.append(text)
            continue
        kept.append(NamedEntry(info, number, path, parts, path.endswith("/")))
    if backslashes:
        notes.append("The names have backslashes between folders, as Windows writes them; they were read as slashes.")
    if litter:
        what = "1 file or folder" if len(litter) == 1 else f"{len(litter):,} files and folders"
        notes.append(f"Left out: {what} that systems and programs leave beside images, such as {shown(litter[0])}.")
    return Listing(tuple(kept), tuple(notes))


def harm(entry: NamedEntry) -> str | None:
    """Return what the name of `entry` could do, as the end of a sentence; None: nothing."""
    text = entry.text
    if len(text) > MAX_NAME_LENGTH:
        return f"the name is longer than {MAX_NAME_LENGTH:,} characters"
    if found := _CONTROL.search(text):
        return f"the name has the control character U+{ord(found[0]):04X}, which hides a part of it"
    if found := _DIRECTION.search(text):
        return f"the name has the mark U+{ord(found[0]):04X}, which turns the direction of the letters behind it"
    if "\\" in text:
        return "the name has a backslash, which ends a folder's name on Windows, while other names have slashes"
    if text.startswith("/") or _DRIVE.match(text):
        return "the name is an absolute path"
    if ".." in entry.parts:
        return "the path leaves the archive"
    return None


def _texts(infos: Sequence[zipfile.ZipInfo]) -> tuple[list[str], list[str]]:
    """Return the name of each entry as text, and notes about the encoding."""
    raw = {i: name for i, info in enumerate(infos) if (name := _undeclared(info)) is not None}
    texts = [info.orig_filename for info in infos]
    unknown: dict[int, bytes] = {}
    for i, name in raw.items():
        if (declared := _unicode_path(infos[i], name)) is not None:
            texts[i] = declared
        else:
            unknown[i] = name
    if not unknown:
        return texts, []
    codec, note = _encoding(sorted(set(unknown.values())))
    for i, name in unknown.items():
        texts[i] = name.decode(codec)
    return texts, [note]


def _undeclared(info: zipfile.ZipInfo) -> bytes | None:
    """Return the bytes of a name that is not ASCII and not marked as UTF-8; None for others.

    `zipfile` decodes such a name as cp437, in which every byte is a character.
    """
    if info.flag_bits & _UTF8_FLAG or info.orig_filename.isascii():
        return None
    return info.orig_filename.encode("cp437")


def _encoding(names: Sequence[bytes]) -> tuple[str, str]:
    """Return the encoding of `names`, and a sentence about it."""
    try:
        b"\n".join(names).decode("utf-8")
    except UnicodeDecodeError:
        page = code_page_of(names)
        example = shown(names[0].decode(page.codec))
        note = (
            f"The zip does not say how its names are encoded; they were read as {page.language} ({page.codec}), such "
            f"as {example}. If this is wrong, make the zip with a program that writes names as UTF-8."
        )
        return page.codec, note
    return "utf-8", "The zip does not say how its names are encoded; they were read as UTF-8."


def _unicode_path(info: zipfile.ZipInfo, raw: bytes) -> str | None:
    """Return the name in Info-ZIP's extra field 0x7075, if it belongs to the name `raw`."""
    for kind, data in _extra_fields(info.extra):
        if kind == _UNICODE_PATH and len(data) > 5 and data[1:5] == struct.pack("<I", zlib.crc32(raw)):
            try:
                return data[5:].decode("utf-8")
            except UnicodeDecodeError:
                return None
    return None


def _extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        yield kind, extra[4 : 4 + length]
        extra = extra[4 + length :]
