"""Pictures in the terminal: as pixels if it supports Sixel or Kitty's protocol, else as half blocks.

A half block is a character that shows two pixels, one above the other.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final

from PIL import Image
from rich.console import Console
from rich.text import Text

from gantry.images import Sample, read_png

if TYPE_CHECKING:
    from textual_image.renderable import HalfcellImage, SixelImage, TGPImage, UnicodeImage

    Renderable = type[SixelImage] | type[TGPImage] | type[HalfcellImage] | type[UnicodeImage]

_GAP_PIXELS: Final = 1
_NO_LABEL: Final = "no classes"


class TerminalSilentError(Exception):
    """The terminal cannot be asked what it supports."""


def can_show() -> bool:
    """Return whether this process runs in a terminal with colours, with a person at its keyboard."""
    return sys.stdin.isatty() and sys.stdout.isatty() and Console().color_system is not None


class TerminalImages:
    """Shows pictures in the terminal. In a pipe they are coloured half blocks."""

    def __init__(self) -> None:
        """Ask the terminal what it supports. Raises `TerminalSilentError`."""
        interactive = can_show()
        if sys.stdout.isatty() and not sys.stdin.isatty():
            raise TerminalSilentError(
                "The terminal cannot be asked what it can show, because stdin is not the terminal. Use -o."
            )
        # This module asks the terminal once, when it is imported.
        from textual_image import renderable  # noqa: PLC0415

        self.console = Console() if interactive else Console(force_terminal=True, color_system="truecolor")
        self.has_pixels = interactive and renderable.Image in (renderable.SixelImage, renderable.TGPImage)
        self._renderable: Renderable = renderable.Image if self.has_pixels else renderable.HalfcellImage

    def show(self, png: bytes) -> None:
        """Show a PNG file, as large as the terminal."""
        self._print(read_png(png))

    def show_samples(self, samples: Sequence[Sample]) -> None:
        """Show a row of images below the name of each class."""
        for label, row in groupby(samples, key=lambda sample: sample.label):
            self.console.print(Text(label or _NO_LABEL))
            self._print(_side_by_side([sample.image for sample in row]))

    def show_legend(self, colours: Mapping[str, str]) -> None:
        """Show each name in its colour, because the letters in a plot are too small to read here."""
        self.console.print(Text("  ").join(Text(f"━ {name}", style=colour) for name, colour in colours.items()))

    def _print(self, image: Image.Image) -> None:
        if self.has_pixels:
            self.console.print(self._renderable(image, width="auto", height="auto"))
        else:
            # Limit the width only: a picture may be higher than the terminal, which scrolls.
            width = min(self.console.width, image.width)
            self.console.print(self._renderable(image, width=width, height="auto"))


def _side_by_side(images: Sequence[Image.Image]) -> Image.Image:
    """Return one image with all `images`, which have the same size, in a row."""
    width, height = images[0].size
    row = Image.new("RGB", (len(images) * (width + _GAP_PIXELS) - _GAP_PIXELS, height), "white")
    for number, image in enumerate(images):
        row.paste(image.convert("RGB"), (number * (width + _GAP_PIXELS), 0))
    return row
