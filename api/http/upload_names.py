"""The names of uploads, and the beginnings of their files: what can be judged before the file has arrived."""

from __future__ import annotations

import re
from pathlib import PureWindowsPath
from typing import Final

from gan.spec import UNSEEN, nfc
from jobs.ids import looks_like

MAX_LENGTH: Final = 100
PATTERN: Final = rf"^[^\s/\\.\-{UNSEEN}]([^/\\{UNSEEN}]{{0,{MAX_LENGTH - 2}}}[^\s/\\{UNSEEN}])?$"
"""A name is part of addresses and of command lines, so it has no slash and does not begin with a dot or a hyphen."""

_NAME: Final = re.compile(PATTERN)
_REFUSED: Final = re.compile(rf"[/\\{UNSEEN}]")

# A zip, or a program that unpacks itself: the directory is at the end, so anything may be in front of it.
_ZIPS: Final = (b"PK", b"MZ", b"\x7fELF", b"#!")
_OTHERS: Final = (
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x1f\x8b", "a gzip file, such as a .tar.gz"),
    (b"BZh", "a bzip2 file, such as a .tar.bz2"),
    (b"\xfd7zX", "an xz file, such as a .tar.xz"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"\x89PNG", "a single PNG image"),
    (b"\xff\xd8\xff", "a single JPEG image"),
    (b"%PDF", "a PDF"),
)
BEGINNING: Final = 4
"""The number of bytes that tell one kind of file from the other."""


def name_problem(name: str) -> str | None:
    """Return what is wrong with the name of a data set, as a sentence; None: nothing."""
    if _NAME.fullmatch(name) and not looks_like("ds", name):
        return None
    return (
        f"{name[:MAX_LENGTH]!r} is not a valid name of a data set. A name has 1 to {MAX_LENGTH} characters. It has "
        "no slash, no backslash and no invisible character, does not begin with a dot, a hyphen or a space, does not "
        "end with a space, and does not look like an id. Send another as 'name'."
    )


def name_of_file(file_name: str) -> str:
    """Return the name of a data set after the file that was sent: without extension and what no name may have."""
    stem = PureWindowsPath(nfc(file_name)).stem
    return _REFUSED.sub("", stem).lstrip(" .-")[:MAX_LENGTH].strip()


def file_problem(beginning: bytes) -> str | None:
    """Return why a file with these first bytes is no zip, as a sentence; None: it may be one."""
    if beginning.startswith(_ZIPS):
        return None
    kind = next((kind for magic, kind in _OTHERS if beginning.startswith(magic)), None)
    what = f"it is {kind}" if kind else "it does not begin like one"
    return f"The file is not a zip: {what}. Upload a zip of images."
