"""Decoding of images: each one becomes a square of pixels, or is refused with a reason."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from gan.uploads import pictures
from gan.uploads.metadata import without_metadata
from gan.uploads.pictures import ImageFacts, UnfitImageError
from tests.gan.uploads.zips import broken, picture
from tests.hostile.payloads import png


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
    pixels = pictures.decode(data).square(16, channels)
    assert pixels.shape == (channels, 16, 16) and pixels.dtype == np.uint8
    expected = 255 if mode == "1" and pixels.mean() > 220 else 200
    assert mode == "1" or abs(float(pixels.mean()) - expected) < 4


def test_the_central_square_is_taken() -> None:
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 255
    assert (pictures.decode(saved(Image.fromarray(wide))).square(8, 3) == 255).all()
    assert (pictures.decode(saved(Image.fromarray(wide.transpose(1, 0, 2).copy()))).square(8, 1) == 255).all()


def test_transparency_becomes_white() -> None:
    assert (pictures.decode(saved(Image.new("RGBA", (8, 8), (0, 0, 0, 0)))).square(8, 3) == 255).all()


def test_an_exif_rotation_is_applied() -> None:
    left_half = np.zeros((8, 8), np.uint8)
    left_half[:, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # Rotate clockwise by 90 degrees: the left half moves to the top.
    turned = pictures.decode(saved(Image.fromarray(left_half), exif=exif)).square(8, 1)[0]
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
        pictures.decode(data[: len(data) // 2]).square(32, 3)
    assert caught.value.code in ("corrupt-image", "unsupported-image")


def test_a_wrong_checksum_is_refused() -> None:
    with pytest.raises(UnfitImageError) as caught:
        pictures.decode(broken()).square(16, 3)
    assert caught.value.code == "corrupt-image"


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_refused(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(UnfitImageError, match="animation"):
        pictures.inspect(data)


def jpeg_on_its_side(rational: bytes) -> bytes:
    """Return a JPEG, white at its left, to be turned clockwise; its EXIF also has an exposure time of these bytes."""
    left_half = np.zeros((16, 16), np.uint8)
    left_half[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x9201] = 7777.0
    data = saved(Image.fromarray(left_half), "JPEG", exif=exif)
    assert len(rational) == 8
    at = data.index(b"MM\0*") + 0x38  # Pillow writes the value here
    return data[:at] + rational + data[at + 8 :]


@pytest.mark.parametrize("rational", [struct.pack(">ii", -1, 0), struct.pack(">ii", 0, 0), b"\xff" * 8])
def test_a_broken_value_of_exif_does_not_decide_over_good_pixels(rational: bytes) -> None:
    turned = pictures.decode(jpeg_on_its_side(rational)).square(16, 1)[0]
    assert turned[:7].min() > 200 and turned[9:].max() < 50


def test_an_image_whose_exif_cannot_be_read_is_taken_as_it_is() -> None:
    data = jpeg_on_its_side(struct.pack("<ii", 1, 1))
    at = data.index(b"Exif\0\0") + 6
    found = pictures.decode(data[:at] + b"??" + data[at + 2 :])
    assert found.exif_ignored and found.square(16, 1)[0][:, :7].min() > 200


def with_chunk(kind: bytes, content: bytes, *, checksum: int | None = None, at_end: bool = False) -> bytes:
    """Return a good PNG with one more chunk."""
    data, place = picture(), 33
    if at_end:
        place = data.index(b"IEND") - 4
    known = zlib.crc32(kind + content) if checksum is None else checksum
    return data[:place] + struct.pack(">I", len(content)) + kind + content + struct.pack(">I", known) + data[place:]


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize(
    ("kind", "content", "checksum"),
    [
        (b"zTXt", b"prompt\0\0" + zlib.compress(bytes(3_000_000)), None),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(3_000_000)), None),
        (b"iCCP", b"profile\0\0" + zlib.compress(bytes(3_000_000)), None),
        (b"tEXt", b"a text with a wrong checksum\0x", 7),
        (b"eXIf", b"not EXIF at all", 7),
        (b"pHYs", b"short", None),
    ],
)
def test_no_chunk_of_metadata_decides_over_good_pixels(
    kind: bytes, content: bytes, checksum: int | None, at_end: bool
) -> None:
    data = with_chunk(kind, content, checksum=checksum, at_end=at_end)
    assert pictures.inspect(data) == pictures.inspect(picture())
    assert (pictures.decode(data).square(16, 3) == pictures.decode(picture()).square(16, 3)).all()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_metadata_of_other_formats_is_left_out_if_it_is_broken(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    data = saved(Image.new("RGB", (16, 16), "teal"), kind, exif=exif)
    bare = without_metadata(data)
    assert bare is not None and b"a description" in data and b"a description" not in bare
    assert (pictures.decode(bare).square(16, 3) == pictures.decode(data).square(16, 3)).all()


def test_an_animation_with_a_broken_text_is_refused() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = saved(frames[0], "PNG", save_all=True, append_images=frames[1:])
    text = b"prompt\0\0" + zlib.compress(bytes(3_000_000))
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    with pytest.raises(UnfitImageError, match="animation"):
        pictures.inspect(data[:33] + chunk + data[33:])


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("PNG", "RGB"),
        ("PNG", "P"),
        ("PNG", "RGBA"),
        ("JPEG", "RGB"),
        ("JPEG", "CMYK"),
        ("WEBP", "RGB"),
        ("WEBP", "RGBA"),
    ],
)
def test_grey_is_what_has_no_colour_in_any_pixel(kind: str, mode: str) -> None:
    grey = Image.fromarray(np.add.outer(np.arange(32), np.arange(32)).astype(np.uint8) * 4)
    stored = grey.convert("P") if mode == "P" else grey.convert("RGB").convert(mode)
    assert not pictures.decode(saved(stored, kind)).has_colour
    coloured = grey.convert("RGB")
    coloured.paste((200, 40, 40), (20, 20, 24, 24))
    assert pictures.decode(saved(coloured.convert(mode), kind)).has_colour


def test_one_pixel_with_a_little_colour_is_a_colour() -> None:
    pixels = np.full((16, 16, 3), 100, np.uint8)
    pixels[3, 4, 1] = 101
    assert pictures.decode(saved(Image.fromarray(pixels))).has_colour


@pytest.mark.parametrize(("brightest", "bits"), [(4095, 12), (1023, 10), (65535, 16), (0, 0)])
def test_the_bits_that_a_file_of_16_bits_uses_are_known(brightest: int, bits: int) -> None:
    values = np.linspace(0, brightest, 256).astype(np.uint16).reshape(16, 16)
    assert pictures.decode(saved(Image.fromarray(values))).bits == bits
    assert pictures.decode(picture()).bits is None


def test_the_bits_of_colours_of_16_bits_are_known() -> None:
    row = b"\0" + struct.pack(">HHH", 4095, 100, 0) * 16
    assert pictures.decode(png(16, 16, depth=16, colour=2, rows=zlib.compress(row * 16))).bits == 12
