"""Pictures in the terminal: in pixels where it can (Sixel, Kitty's), else as half blocks, two a character."""

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

_GAP: Final = 1
_NO_LABEL: Final = "no classes"


class TerminalSilentError(Exception):
    """Nothing can be shown here, in a sentence."""


def can_show() -> bool:
    """Whether a person looks at this process, on a terminal that has colours."""
    return sys.stdin.isatty() and sys.stdout.isatty() and Console().color_system is not None


class TerminalImages:
    """Where pictures are shown; in a pipe, as coloured half blocks."""

    def __init__(self) -> None:
        here = can_show()
        if sys.stdout.isatty() and not sys.stdin.isatty():
            raise TerminalSilentError(
                "The terminal cannot be asked what it can draw while stdin is something else; take -o."
            )
        # Asks the terminal, once, when it is imported.
        from textual_image import renderable  # noqa: PLC0415

        self.console = Console() if here else Console(force_terminal=True, color_system="truecolor")
        self.has_pixels = here and renderable.Image in (renderable.SixelImage, renderable.TGPImage)
        self._image: Renderable = renderable.Image if self.has_pixels else renderable.HalfcellImage

    def show(self, png: bytes) -> None:
        """A picture, as large as the terminal."""
        self._put(read_png(png))

    def show_samples(self, samples: Sequence[Sample]) -> None:
        """A row of images under the name of each class."""
        for label, row in groupby(samples, key=lambda sample: sample.label):
            self.console.print(Text(label or _NO_LABEL))
            self._put(_strip([sample.image for sample in row]))

    def name(self, colours: Mapping[str, str]) -> None:
        """Names in colours: what is what in a picture whose letters are too small here."""
        self.console.print(Text("  ").join(Text(f"━ {name}", style=colour) for name, colour in colours.items()))

    def _put(self, shown: Image.Image) -> None:
        if self.has_pixels:
            self.console.print(self._image(shown, width="auto", height="auto"))
        else:
            # As many columns as there are; the lines roll.
            self.console.print(self._image(shown, width=min(self.console.width, shown.width), height="auto"))


def _strip(images: Sequence[Image.Image]) -> Image.Image:
    """Side by side, all of one size."""
    width, height = images[0].size
    strip = Image.new("RGB", (len(images) * (width + _GAP) - _GAP, height), "white")
    for number, image in enumerate(images):
        strip.paste(image.convert("RGB"), (number * (width + _GAP), 0))
    return strip
