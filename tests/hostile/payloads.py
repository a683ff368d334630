"""Malformed or malicious archives and images."""

from __future__ import annotations

import functools
import io
import pickle
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np
from PIL import Image

from gan.uploads.archive import MAX_ENTRIES
from tests.gan.uploads.zips import files, picture, zipped

GOOD = files("bag", "shoe", each=40)


def with_entry(name: str, content: bytes | None = None) -> bytes:
    """Return a good archive with one more entry."""
    return zipped({**GOOD, name: picture(1) if content is None else content})


def patched(content: bytes, old: bytes, new: bytes) -> bytes:
    """Return `content` with `old` replaced by `new`, which must be equally long."""
    assert old in content and len(old) == len(new)
    return content.replace(old, new)


def with_special_file(kind: int) -> bytes:
    """Return a good archive with one more entry of this file type (`stat.S_IF...`): a link, a device or a pipe."""
    file = io.BytesIO(zipped(GOOD))
    entry = zipfile.ZipInfo("bag/link.png")
    entry.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(file, "a") as more:
        more.writestr(entry, "/etc/passwd")
    return file.getvalue()


def link() -> bytes:
    return with_special_file(stat.S_IFLNK)


def device() -> bytes:
    return with_special_file(stat.S_IFCHR)


def with_directory_bytes(content: bytes, offset: int, values: bytes, entry: int = 0) -> bytes:
    """Return `content` with `values` written at `offset` into the record of an entry in the central directory."""
    changed, place = bytearray(content), -1
    for _ in range(entry + 1):
        place = changed.index(b"PK\x01\x02", place + 1)
    changed[place + offset : place + offset + len(values)] = values
    return bytes(changed)


def encrypted() -> bytes:
    return with_directory_bytes(zipped(GOOD), 8, b"\x01")


def overlapping() -> bytes:
    """Return an archive with two entries that share the same bytes."""
    return with_directory_bytes(zipped(GOOD), 42, struct.pack("<I", 4), entry=1)


def with_claimed_size(size: int) -> bytes:
    """Return an archive with an entry that claims to expand to `size` bytes."""
    return with_directory_bytes(zipped(GOOD), 24, struct.pack("<I", size))


def understated_entry() -> bytes:
    """Return an archive with an entry of 100 MB that claims to have 100 bytes."""
    content = zipped({**GOOD, "shoe/zz.png": bytes(100_000_000)})
    return with_directory_bytes(content, 24, struct.pack("<I", 100), entry=len(GOOD))


def bomb() -> bytes:
    return zipped({"bag/1.png": bytes(200_000_000)})


def with_duplicate_entry() -> bytes:
    file = io.BytesIO(zipped(GOOD))
    with zipfile.ZipFile(file, "a") as more:
        more.NameToInfo.pop("bag/0000.png")  # or it warns
        more.writestr("bag/0000.png", picture(7))
    return file.getvalue()


def with_nul_in_name() -> bytes:
    return patched(with_entry("bag/evilXpng.png"), b"evilXpng", b"evil\0png")


def lzma() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as made:
        made.writestr("bag/1.png", picture())
    return file.getvalue()


@functools.cache
def many_entries() -> bytes:
    """Return an archive with one entry more than the limit."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for number in range(MAX_ENTRIES + 1):
            made.writestr(zipfile.ZipInfo(f"{number}.png"), b"")
    return file.getvalue()


def weights() -> bytes:
    """Return a file like those of torch.save: a zip around a pickle, with a command in it."""
    return zipped({"archive/data.pkl": pickle.dumps(print), "archive/version": b"3\n"})


def with_images(*images: bytes, suffix: str = "png", others: Mapping[str, bytes] = GOOD) -> bytes:
    """Return a good archive that also holds these images."""
    return zipped({**others, **{f"bag/x{i}.{suffix}": data for i, data in enumerate(images)}})


def png(width: int, height: int, *chunks: bytes, depth: int = 1, colour: int = 0, rows: bytes | None = None) -> bytes:
    """Return a PNG of that size. Its pixels are zeros unless `rows` are given."""
    if rows is None:
        packer = zlib.compressobj(9)
        line = bytes(1 + (width * depth + 7) // 8)
        rows = b"".join(packer.compress(line) for _ in range(height)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@functools.cache
def huge() -> bytes:
    """Return a PNG of 20,000 x 20,000 pixels in 50 KB."""
    return png(20_000, 20_000)


def with_a_long_text() -> bytes:
    """Return a PNG with a compressed comment of 200 MB."""
    return png(16, 16, chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9)))


def with_too_many_pixels() -> bytes:
    """Return a PNG of 16 x 16 pixels by its header, with 200 MB of pixels."""
    return png(16, 16, rows=zlib.compress(bytes(200_000_000), 9))


def animated() -> bytes:
    file = io.BytesIO()
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    frames[0].save(file, format="PNG", save_all=True, append_images=frames[1:])
    return file.getvalue()


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


def noise(kind: str) -> bytes:
    """Return an image that does not compress."""
    return saved(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)), kind)


def unusual_but_valid() -> bytes:
    """Return a valid archive of unusual images: CMYK, 16 bits, rotated by EXIF, a palette, transparency."""
    exif = Image.Exif()
    exif[0x0112] = 6
    colours = Image.new("RGB", (30, 20), "red")
    deep = Image.fromarray(np.full((20, 30), 200 << 8, np.uint16))
    kinds = {
        "bag/cmyk.jpg": saved(colours.convert("CMYK"), "JPEG"),
        "bag/deep.png": saved(deep, "PNG"),
        "bag/turned.jpg": saved(colours, "JPEG", exif=exif),
        "bag/palette.png": saved(colours.convert("P"), "PNG"),
        "bag/see-through.webp": saved(colours.convert("RGBA"), "WEBP"),
    }
    return zipped({**GOOD, **kinds})
