"""Decoding of one uploaded image: its properties, and its conversion into a square of pixels.

    EXIF rotation -> transparency to white -> central square -> scaling (Lanczos) -> grey or RGB

16 bits per value become 8; CMYK and palettes become RGB. An animation is refused, because it has no single image.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

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


class UnfitImageError(Exception):
    """An image that cannot be used. `code` is stable, for programs; the text is the reason, for people."""

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        super().__init__(reason)


@dataclass(frozen=True)
class ImageFacts:
    """The size of an image in pixels, and whether it has no colours."""

    width: int
    height: int
    grey: bool


def inspect(data: bytes) -> ImageFacts:
    """Return what the header of the image file `data` states. Raises `UnfitImageError`."""
    with _opened(data) as image:
        return ImageFacts(*image.size, image.mode in _GREY)


def square(data: bytes, side: int, channels: int) -> npt.NDArray[np.uint8]:
    """Decode the image file `data` into (channels, side, side) in 0..255; `channels` is 1 (grey) or 3 (RGB).

    Raises `UnfitImageError`.
    """
    with _opened(data) as image:
        try:
            image.load()
            upright = ImageOps.exif_transpose(image)
            flat = _flat(upright)
        except _DAMAGED as error:
            raise UnfitImageError("corrupt-image", f"it is truncated or damaged ({_short(error)})") from None
        except MemoryError:
            raise UnfitImageError("image-too-large", "it needs more memory than an image may use") from None
    edge = min(flat.size)
    left, top = (flat.width - edge) // 2, (flat.height - edge) // 2
    cropped = flat.crop((left, top, left + edge, top + edge))
    scaled = cropped if edge == side else cropped.resize((side, side), Image.Resampling.LANCZOS)
    pixels = np.asarray(scaled.convert("L" if channels == 1 else "RGB"), dtype=np.uint8)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


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
