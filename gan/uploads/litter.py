"""Files and folders that systems and programs leave beside images. They are set aside before anything is judged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate
from typing import Final

PATTERNS: Final = (
    # macOS, also on sticks and shares of other systems; the last two are the file "Icon" and a carriage return
    ".DS_Store",
    "._*",
    "__MACOSX",
    ".AppleDouble",
    ".AppleDB",
    ".AppleDesktop",
    ".apdisk",
    ".localized",
    ".fseventsd",
    ".Spotlight-V100",
    ".DocumentRevisions-V100",
    ".TemporaryItems",
    ".Trashes",
    ".VolumeIcon.icns",
    "Icon\r",
    "Icon\uf00d",
    # Windows; the last is what a download leaves beside a file, as Linux shows it
    "Thumbs.db",
    "Thumbs.db:encryptable",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    "$RECYCLE.BIN",
    "System Volume Information",
    "*:Zone.Identifier",
    # Linux and Android
    ".directory",
    ".hidden",
    ".nomedia",
    ".thumbnails",
    ".thumbdata*",
    ".Trash-*",
    ".Trash",
    ".fuse_hidden*",
    ".nfs????*",
    "lost+found",
    "*~",
    # network storage and synchronisation
    "@eaDir",
    "#recycle",
    "@Recycle",
    "@Recently-Snapshot",
    ".@__thumb",
    ".dropbox",
    ".dropbox.attr",
    ".dropbox.cache",
    ".stfolder",
    ".stignore",
    ".stversions",
    ".owncloudsync.log",
    ".sync",
    # image programs
    ".picasa.ini",
    "Picasa.ini",
    ".BridgeSort",
    ".BridgeLabelsAndRatings",
    ".xvpics",
    # version control and development
    ".git",
    ".gitattributes",
    ".gitignore",
    ".gitkeep",
    ".gitmodules",
    ".keep",
    ".svn",
    ".hg",
    ".idea",
    ".vscode",
    ".cache",
    ".ipynb_checkpoints",
    "__pycache__",
)
"""Patterns of one part of a path, as in a shell; upper and lower case are the same."""

# An archive may have 200,000 names. Most patterns are whole names, which are looked up and not tried one by one.
_WHOLE: Final = frozenset(pattern.lower() for pattern in PATTERNS if not set(pattern) & set("*?"))
_OTHERS: Final = re.compile(
    "|".join(translate(pattern.lower()) for pattern in PATTERNS if pattern.lower() not in _WHOLE)
)


def is_litter(parts: Sequence[str]) -> bool:
    """Return whether a path, given as its parts, is litter or lies in a folder that is."""
    return any(part in _WHOLE or _OTHERS.match(part) is not None for part in map(str.lower, parts))
