"""Text in pictures: each character in a font that has it, shaped and ordered as its script is written.

The fonts are Noto, from packages. Without them Pillow's own font is used, which has the letters of English alone.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from fontTools.ttLib import TTFont
from PIL import ImageDraw, ImageFont

_PACKAGES: Final = ("manimgx_fonts", "manimgx_fonts_cjk")
_REGULAR: Final = 400
# A font with letters of all scripts comes first. Symbols and emoji come last, because these fonts repeat letters.
_FIRST, _LAST = ("NotoSans[wght].ttf",), ("NotoSansSymbols[wght].ttf", "NotoEmoji[wght].ttf")
_RIGHT_TO_LEFT: Final = ("R", "AL")

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class _Run:
    """Successive characters in one font and one direction."""

    text: str
    font: Font
    right_to_left: bool

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of Pillow that a run of this direction needs."""
        font = self.font
        if not isinstance(font, ImageFont.FreeTypeFont) or font.layout_engine != ImageFont.Layout.RAQM:
            return {}
        return {"direction": "rtl" if self.right_to_left else "ltr"}

    @property
    def width(self) -> float:
        """The width in pixels."""
        return self.font.getlength(self.text, **self.options)


@dataclass(frozen=True)
class Line:
    """A line of text at a size in pixels, as runs from left to right."""

    runs: tuple[_Run, ...]
    ascent: int
    """The height above the baseline in pixels, less what is below it."""

    @property
    def width(self) -> float:
        """The width in pixels."""
        return sum(run.width for run in self.runs)

    def draw(self, pen: ImageDraw.ImageDraw, right: float, middle: float) -> None:
        """Draw the line in black, so that it ends at x = `right` and its middle is at y = `middle`."""
        left = right - self.width
        for run in self.runs:
            pen.text(
                (left, middle + self.ascent / 2), run.text, fill="black", font=run.font, anchor="ls", **run.options
            )
            left += run.width


def line(text: str, size: int) -> Line:
    """Return `text` as a line of `size` pixels."""
    base = _font(None, size)
    above, below = base.getmetrics() if isinstance(base, ImageFont.FreeTypeFont) else (size, 0)
    runs = [_Run(part, _font(face, size), _is_right_to_left(part)) for face, part in _by_face(text)]
    return Line(tuple(_in_visual_order(runs, _is_right_to_left(text))), above - below)


def _by_face(text: str) -> Iterator[tuple[Path | None, str]]:
    """Yield parts of `text` with the font that has their characters; None: no font has them."""
    faces: list[Path | None] = []
    for char in text:
        # Spaces, digits, signs and marks stay with the character before them if its font has them.
        stays = bool(faces) and unicodedata.category(char)[0] != "L" and unicodedata.category(char) != "So"
        if stays and (faces[-1] is None or ord(char) in _characters(faces[-1]) or _is_joiner(char)):
            faces.append(faces[-1])
        else:
            faces.append(next((face for face in _faces() if ord(char) in _characters(face)), None))
    for face, group in groupby(zip(faces, text, strict=True), key=lambda pair: pair[0]):
        yield face, "".join(char for _, char in group)


def _in_visual_order(runs: list[_Run], right_to_left: bool) -> list[_Run]:
    """Return the runs from left to right: those of one direction stay together, and each direction has its order."""
    groups = [list(group) for _, group in groupby(runs, key=lambda run: run.right_to_left)]
    ordered = [group[::-1] if group[0].right_to_left else group for group in groups]
    return [run for group in (reversed(ordered) if right_to_left else ordered) for run in group]


def _is_right_to_left(text: str) -> bool:
    """Return the direction of the first character that has one."""
    strong = (unicodedata.bidirectional(char) for char in text)
    return next((kind in _RIGHT_TO_LEFT for kind in strong if kind in ("L", *_RIGHT_TO_LEFT)), False)


def _is_joiner(char: str) -> bool:
    """Return whether `char` joins or selects the shapes of others, and has none itself."""
    return char in "\u200c\u200d" or "\ufe00" <= char <= "\ufe0f"


@cache
def _faces() -> tuple[Path, ...]:
    """Return the font files in the order in which they are asked for a character."""
    specs = [spec for name in _PACKAGES if (spec := find_spec(name)) is not None]
    folders = [Path(place) for spec in specs for place in spec.submodule_search_locations or ()]
    found = [
        path for folder in folders for path in sorted(folder.iterdir()) if path.suffix in (".ttf", ".otf", ".ttc")
    ]
    upright = [path for path in found if "Italic" not in path.name]
    return tuple(sorted(upright, key=lambda path: (path.name in _LAST, path.name not in _FIRST)))


@cache
def _characters(face: Path) -> frozenset[int]:
    """Return the code points that a font has; the first font of a collection."""
    with TTFont(face, fontNumber=0, lazy=True) as font:
        return frozenset(font.getBestCmap())


@cache
def _font(face: Path | None, size: int) -> Font:
    """Return the regular font in this file at `size` pixels; None: the first font."""
    first = face or next(iter(_faces()), None)
    if first is None:
        return ImageFont.load_default(size=size)
    font = ImageFont.truetype(str(first), size)
    try:
        axes = font.get_variation_axes()
    except OSError:  # it is not variable
        return font
    font.set_variation_by_axes([_REGULAR if axis["name"] == b"Weight" else axis["default"] or 0 for axis in axes])
    return font
