"""One image of an upload: what it is, and how it becomes a square of pixels.

    turned as its EXIF tag says -> transparency on white -> the central square -> scaled (Lanczos) -> grey or RGB

16 bits a value become 8, CMYK and palettes RGB. An animation is refused: nobody could say which picture was meant.
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

MOST_PIXELS: Final = 25_000_000
# Of a JPEG of several pictures, as cameras write it (MPO), the first one is meant.
_FORMATS: Final = ("PNG", "JPEG", "WEBP")
_STILL: Final = ("JPEG", "MPO")
_GREY: Final = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L")
# Every one of these has been raised by Pillow over a damaged file.
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
    """This image cannot be taken; `code` for machines, the text says why."""

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        super().__init__(reason)


@dataclass(frozen=True)
class ImageFacts:
    """An image's size in pixels, and whether it has no colours."""

    width: int
    height: int
    grey: bool


def look(data: bytes) -> ImageFacts:
    """What is said in the header of the image in `data`. Raises `UnfitImageError`."""
    with _opened(data) as image:
        return ImageFacts(*image.size, image.mode in _GREY)


def square(data: bytes, side: int, channels: int) -> npt.NDArray[np.uint8]:
    """The image in `data` as (C, side, side) in 0..255. Raises `UnfitImageError`."""
    with _opened(data) as image:
        try:
            image.load()
            upright = ImageOps.exif_transpose(image)
            flat = _flat(upright)
        except _DAMAGED as error:
            raise UnfitImageError("corrupt-image", f"it is truncated or damaged ({_short(error)})") from None
        except MemoryError:
            raise UnfitImageError("image-too-large", "it takes more memory than an image gets") from None
    edge = min(flat.size)
    left, top = (flat.width - edge) // 2, (flat.height - edge) // 2
    cut = flat.crop((left, top, left + edge, top + edge))
    scaled = cut if edge == side else cut.resize((side, side), Image.Resampling.LANCZOS)
    pixels = np.asarray(scaled.convert("L" if channels == 1 else "RGB"), dtype=np.uint8)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _opened(data: bytes) -> Image.Image:
    Image.MAX_IMAGE_PIXELS = None  # the limit is ours, and no warning
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        reason = "by its content it is no PNG, JPEG or WebP image, or its beginning is damaged"
        raise UnfitImageError("unsupported-image", reason) from None
    except _DAMAGED as error:
        raise UnfitImageError("corrupt-image", f"it is damaged ({_short(error)})") from None
    except MemoryError:
        raise UnfitImageError("image-too-large", "it takes more memory than an image gets") from None
    if image.width * image.height > MOST_PIXELS:
        reason = f"it has {image.width * image.height / 1e6:,.0f} Mpx; {MOST_PIXELS // 1_000_000} is the most"
        raise UnfitImageError("image-too-large", reason)
    if image.format not in _STILL and getattr(image, "is_animated", False):
        raise UnfitImageError("unsupported-image", "it is an animation")
    return image


def _flat(image: Image.Image) -> Image.Image:
    """In 8 bits, grey or RGB, without transparency."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("L" if image.mode in _GREY else "RGB")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
