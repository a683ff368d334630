"""Text that people type: one spelling for what looks the same, and the characters that no name may have."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

UNSEEN: Final = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
"""Control characters, line separators and bidirectional marks, as the inside of a regular expression's [...].

A text with one of them looks different from what it is.
"""
# Soft hyphen, marks of direction, space and joiner without width, byte order mark. U+200C and U+200D are not among
# them: Persian words and joined emoji need these joiners.
_INVISIBLE: Final = re.compile("[\u00ad\u061c\u200b\u200e\u200f\u2060\ufeff]")


def nfc(text: str) -> str:
    """Return `text` in Unicode's normal form C, in which "é" is one character however it was typed."""
    return unicodedata.normalize("NFC", text)


def plain_label(text: str) -> str:
    """Return the spelling in which labels are stored and compared: NFC, without invisible marks and outer spaces."""
    return text.strip() if text.isascii() else nfc(_INVISIBLE.sub("", text)).strip()
