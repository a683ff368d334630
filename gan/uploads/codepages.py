"""The encoding of names in a zip that does not state it: UTF-8, or else the code page that fits the letters best.

A zip may mark each name as UTF-8. Without the mark the names are bytes: UTF-8 from macOS, and from Windows the code
page of its language.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

_ODD, _RARE, _UNCOMMON, _USUAL = -1.0, 0.2, 0.6, 1.0
# An archive may have very many names; some of them show the language.
_MOST_RATED: Final = 5_000
# The vowels and final consonants of frequent Korean syllables. The syllables are numbered: 21 vowels, 28 finals.
_VOWELS: Final = frozenset((0, 1, 2, 4, 5, 6, 8, 9, 12, 13, 17, 18, 20))
_FINALS: Final = frozenset((0, 1, 4, 8, 16, 17, 21))
_FIRST_SYLLABLE: Final = 0xAC00


@dataclass(frozen=True)
class CodePage:
    """A code page, whose names it encodes, and how usual a character of these languages is: -1 (odd) to 1."""

    codec: str
    language: str
    rate: Callable[[str], float]


def _within(codec: str, low: int, high: int) -> Callable[[str], float]:
    """Rate a character by the first of its two bytes in `codec`: frequent ones are within `low` to `high`."""

    def rate(char: str) -> float:
        encoded = char.encode(codec, errors="ignore")
        return _USUAL if len(encoded) == 2 and low <= encoded[0] <= high else _RARE

    return rate


def _japanese(char: str) -> float:
    """Rate the kana and the characters of level 1 as usual, and kana of half width as uncommon."""
    return _UNCOMMON if "\uff66" <= char <= "\uff9f" else _within("cp932", 0x81, 0x98)(char)


def _korean(char: str) -> float:
    number = ord(char) - _FIRST_SYLLABLE
    if not 0 <= number < 11_172:
        return _RARE
    # More than the usual: a Chinese character has the same bytes as any syllable, a frequent one or not.
    return 1.05 if (number // 28) % 21 in _VOWELS and number % 28 in _FINALS else 0.5


def _letters(usual: str, uncommon: str = "") -> Callable[[str], float]:
    rates = {char: rate for text, rate in ((uncommon, _UNCOMMON), (usual, _USUAL)) for char in text + text.upper()}
    return lambda char: rates.get(char, _RARE if char.isalpha() else _ODD)


_WESTERN: Final = ("äöüßéèêàâçñáíóúîôåø", "ãõæëïìòùûýÿœ")
_CENTRAL: Final = ("áčéęěíłńóöřšúůüýžżąćőäß", "âăçďđëîľĺňôŕśşţťűź")
_CYRILLIC: Final = "абвгдежзийклмнопрстуфхцчшщъыьэюяёіїєґ"
_GREEK: Final = "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώ"

CODE_PAGES: Final = (
    # Level 1 of JIS X 0208 and the kana, of GB 2312, of Big5
    CodePage("cp932", "Japanese", _japanese),
    CodePage("gbk", "simplified Chinese", _within("gb2312", 0xB0, 0xD7)),
    CodePage("cp949", "Korean", _korean),
    CodePage("big5", "traditional Chinese", _within("big5", 0xA4, 0xC6)),
    CodePage("cp437", "Western European", _letters(*_WESTERN)),
    CodePage("cp850", "Western European", _letters(*_WESTERN)),
    CodePage("cp1252", "Western European", _letters(*_WESTERN)),
    CodePage("cp866", "Cyrillic", _letters(_CYRILLIC)),
    CodePage("cp1251", "Cyrillic", _letters(_CYRILLIC)),
    CodePage("cp852", "Central European", _letters(*_CENTRAL)),
    CodePage("cp1250", "Central European", _letters(*_CENTRAL)),
    CodePage("cp737", "Greek", _letters(_GREEK)),
    CodePage("cp1253", "Greek", _letters(_GREEK)),
)
"""In the order in which they are taken if they fit equally well."""


def code_page_of(names: Sequence[bytes]) -> CodePage:
    """Return the code page in which `names`, of which none is ASCII, look most like words of its languages."""
    text = b"\n".join(names)
    return max(CODE_PAGES, key=lambda page: _fit(text, page))


def _fit(text: bytes, page: CodePage) -> float:
    """Return the mean rating of the characters beyond ASCII, or minus infinity if `text` is not of this page."""
    try:
        decoded = text.decode(page.codec)
    except UnicodeDecodeError:
        return -float("inf")
    padded = f" {decoded} "
    places = islice((i for i, char in enumerate(padded) if not char.isascii()), _MOST_RATED)
    rates = [_rate(padded[i - 1], padded[i], padded[i + 1], page) for i in places]
    return sum(rates) / len(rates)


def _rate(before: str, char: str, after: str, page: CodePage) -> float:
    """Rate `char` between its neighbours.

    Within a word no capital follows a small letter, no script another, and seldom one letter with an accent another.
    """
    pairs = [(a, b) for a, b in ((before, char), (char, after)) if a.isalpha() and b.isalpha()]
    mixed = any((a.islower() and b.isupper()) or _script(a) != _script(b) for a, b in pairs)
    accents = _script(char) == "LATIN" and before.isalpha() and not before.isascii()
    return min(page.rate(char), _RARE if mixed or accents else _USUAL + 1)


def _script(char: str) -> str:
    """Return the script of a letter: LATIN, CYRILLIC, ... East Asian ones, which do mix, are one."""
    script = unicodedata.name(char, "").partition(" ")[0]
    return script if script in ("LATIN", "CYRILLIC", "GREEK") else "OTHER"
