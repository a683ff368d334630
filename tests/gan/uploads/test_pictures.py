"""Decoding of images: each one becomes a square of pixels, or is refused with a reason."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from gan.uploads import pictures
from gan.uploads.pictures import ImageFacts, UnfitImageError
from tests.gan.uploads.zips import broken, picture


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """Return `image` as the bytes of a file of that format."""
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *((mode, "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
        *((mode, "JPEG") for mode in ("L", "RGB", "CMYK")),
        *((mode, "WEBP") for mode in ("RGB", "RGBA")),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_any_mode_becomes_pixels(mode: str, kind: str, channels: int) -> None:
    image = Image.new("RGB", (40, 24), (200, 200, 200))
    if mode == "I;16":
        data = saved(Image.fromarray(np.full((24, 40), 200 << 8, np.uint16)))
    else:
        data = saved(image.convert(mode), kind)
    pixels = pictures.square(data, 16, channels)
    assert pixels.shape == (channels, 16, 16) and pixels.dtype == np.uint8
    expected = 255 if mode == "1" and pixels.mean() > 220 else 200
    assert mode == "1" or abs(float(pixels.mean()) - expected) < 4


def test_the_central_square_is_taken() -> None:
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 255
    assert (pictures.square(saved(Image.fromarray(wide)), 8, 3) == 255).all()
    assert (pictures.square(saved(Image.fromarray(wide.transpose(1, 0, 2).copy())), 8, 1) == 255).all()


def test_transparency_becomes_white() -> None:
    assert (pictures.square(saved(Image.new("RGBA", (8, 8), (0, 0, 0, 0))), 8, 3) == 255).all()


def test_an_exif_rotation_is_applied() -> None:
    left_half = np.zeros((8, 8), np.uint8)
    left_half[:, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # Rotate clockwise by 90 degrees: the left half moves to the top.
    turned = pictures.square(saved(Image.fromarray(left_half), exif=exif), 8, 1)[0]
    assert (turned[:4] == 255).all() and (turned[4:] == 0).all()


def test_inspect_returns_size_and_colour() -> None:
    assert pictures.inspect(picture(size=(20, 30))) == ImageFacts(20, 30, grey=False)
    assert pictures.inspect(picture(size=(20, 30), mode="L")) == ImageFacts(20, 30, grey=True)


def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    bomb = saved(Image.new("1", (6000, 6000)))
    assert len(bomb) < 10_000
    with pytest.raises(UnfitImageError, match="36 Mpx; the limit is 25 Mpx") as caught:
        pictures.inspect(bomb)
    assert caught.value.code == "image-too-large"


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "BMP", "PDF"])
def test_other_formats_are_refused(kind: str) -> None:
    with pytest.raises(UnfitImageError) as caught:
        pictures.inspect(saved(Image.new("RGB", (8, 8)), kind))
    assert caught.value.code == "unsupported-image"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_truncated_image_is_refused(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    data = saved(Image.fromarray(noise), kind)
    with pytest.raises(UnfitImageError) as caught:
        pictures.square(data[: len(data) // 2], 32, 3)
    assert caught.value.code in ("corrupt-image", "unsupported-image")


def test_a_wrong_checksum_is_refused() -> None:
    with pytest.raises(UnfitImageError) as caught:
        pictures.square(broken(), 16, 3)
    assert caught.value.code == "corrupt-image"


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_refused(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(UnfitImageError, match="animation"):
        pictures.inspect(data)
