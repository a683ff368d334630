"""Decoding of one uploaded image: its properties, and its conversion into a square of pixels.

    EXIF rotation -> transparency to white -> central square -> scaling (Lanczos) -> grey or RGB

16 bits per value become 8; CMYK and palettes become RGB. An animation is refused, because it has no single image.
Metadata decides nothing but the rotation: an image whose metadata is damaged is read without it.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from gan.uploads.metadata import without_metadata

MAX_PIXELS: Final = 25_000_000
_FORMATS: Final = ("PNG", "JPEG", "WEBP")
# Cameras write JPEG files with several images (MPO); the first one is used.
_STILL: Final = ("JPEG", "MPO")
_GREY: Final = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L")
# Pillow has raised each of these for a damaged file.
_DAMAGED: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
    zlib.error,
)
# The value of the EXIF tag -> what turns the image upright.
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Lossy formats store colours apart from brightness, and round both.
_ROUNDING: Final = {"JPEG": 2, "MPO": 2, "WEBP": 2}
_PNG_DEPTH_AT: Final = 24


class UnfitImageError(Exception):
    """An image that cannot be used. `code` is stable, for programs; the text is the reason, for people."""

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        super().__init__(reason)


@dataclass(frozen=True)
class ImageFacts:
    """The size of an image in pixels, and whether its header rules out colours."""

    width: int
    height: int
    grey: bool


@dataclass(frozen=True)
class DecodedImage:
    """An image of 8 bits, grey or RGB, upright and without transparency.

    bits: of a file with 16 bits per value, how many of them its brightest pixel needs; else None.
    exif_ignored: its EXIF data could not be read, so it was not rotated.
    """

    pixels: Image.Image
    has_colour: bool
    bits: int | None
    exif_ignored: bool

    def square(self, side: int, channels: int) -> npt.NDArray[np.uint8]:
        """Return the central square, scaled: (channels, side, side) in 0..255; `channels` is 1 (grey) or 3 (RGB)."""
        width, height = self.pixels.size
        edge = min(width, height)
        left, top = (width - edge) // 2, (height - edge) // 2
        cropped = self.pixels.crop((left, top, left + edge, top + edge))
        scaled = cropped if edge == side else cropped.resize((side, side), Image.Resampling.LANCZOS)
        pixels = np.asarray(scaled.convert("L" if channels == 1 else "RGB"), dtype=np.uint8)
        return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def inspect(data: bytes) -> ImageFacts:
    """Return what the header of the image file `data` states. Raises `UnfitImageError`."""
    try:
        return _facts(data)
    except UnfitImageError:
        if (bare := without_metadata(data)) is None:
            raise
        return _facts(bare)


def decode(data: bytes) -> DecodedImage:
    """Decode the image file `data`. Raises `UnfitImageError`."""
    try:
        return _decoded(data)
    except UnfitImageError:
        if (bare := without_metadata(data)) is None:
            raise
        return _decoded(bare)


def _facts(data: bytes) -> ImageFacts:
    with _opened(data) as image:
        return ImageFacts(*image.size, image.mode in _GREY)


def _decoded(data: bytes) -> DecodedImage:
    with _opened(data) as image:
        try:
            image.load()
            upright, exif_ignored = _upright(image)
            flat = _flat(upright)
        except _DAMAGED as error:
            raise UnfitImageError("corrupt-image", f"it is truncated or damaged ({_short(error)})") from None
        except MemoryError:
            raise UnfitImageError("image-too-large", "it needs more memory than an image may use") from None
        has_colour = _has_colour(flat, _ROUNDING.get(image.format or "", 0))
        return DecodedImage(flat, has_colour, _bits(image, data), exif_ignored)


def _opened(data: bytes) -> Image.Image:
    Image.MAX_IMAGE_PIXELS = None  # `MAX_PIXELS` below replaces Pillow's limit, which only warns at first.
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        reason = "by its content it is not a PNG, JPEG or WebP image, or its header is damaged"
        raise UnfitImageError("unsupported-image", reason) from None
    except _DAMAGED as error:
        raise UnfitImageError("corrupt-image", f"it is damaged ({_short(error)})") from None
    except MemoryError:
        raise UnfitImageError("image-too-large", "it needs more memory than an image may use") from None
    if image.width * image.height > MAX_PIXELS:
        reason = f"it has {image.width * image.height / 1e6:,.0f} Mpx; the limit is {MAX_PIXELS // 1_000_000} Mpx"
        raise UnfitImageError("image-too-large", reason)
    if image.format not in _STILL and getattr(image, "is_animated", False):
        raise UnfitImageError("unsupported-image", "it is an animation")
    return image


def _upright(image: Image.Image) -> tuple[Image.Image, bool]:
    """Return the image turned as its EXIF tag says, and whether its EXIF data could not be read.

    Only this tag is read: one broken value elsewhere says nothing about the pixels.
    """
    stored = image.info.get("exif")
    try:
        # `getexif` alone would not tell: the decoder has tried before, and then it returns nothing.
        Image.Exif().load(stored if isinstance(stored, bytes) else b"")
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except (*_DAMAGED, ArithmeticError, AttributeError):
        return image, True
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return (image if turn is None else image.transpose(turn)), False


def _has_colour(image: Image.Image, rounding: int) -> bool:
    """Return whether the values of any pixel differ by more than `rounding`."""
    if image.mode == "L":
        return False
    pixels = np.asarray(image)  # (H, W, 3)
    return bool((pixels.max(axis=2) - pixels.min(axis=2) > rounding).any())


def _bits(image: Image.Image, data: bytes) -> int | None:
    """Return how many bits the brightest value needs if the file has 16 bits per value, else None."""
    if image.mode.startswith("I"):
        brightest = int(np.asarray(image).max(initial=0))
        return brightest.bit_length()
    if image.format != "PNG" or data[_PNG_DEPTH_AT] != 16:
        return None
    # Pillow has dropped the lower 8 bits.
    bands = [band for band in image.getbands() if band != "A"]
    brightest = max(int(image.getchannel(band).getextrema()[1]) for band in bands)  # type: ignore[arg-type]
    return brightest.bit_length() + 8


def _flat(image: Image.Image) -> Image.Image:
    """Convert an image to 8 bits, grey or RGB, without transparency."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("L" if image.mode in _GREY else "RGB")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
