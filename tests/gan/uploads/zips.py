"""Helpers that make images and zips, valid and damaged ones."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def picture(shade: int = 0, size: tuple[int, int] = (20, 30), mode: str = "RGB", kind: str = "PNG") -> bytes:
    """Return one image file; each `shade` gives different pixels."""
    pixels = np.full((size[1], size[0], 3), shade % 256, np.uint8)
    pixels[: size[1] // 2, :, 1] = 255 - shade % 256
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, format=kind)
    return file.getvalue()


def broken() -> bytes:
    """Return an image file whose header is valid and whose pixels are damaged."""
    data = bytearray(picture())
    data[data.index(b"IDAT") + 12] ^= 0xFF
    return bytes(data)


def files(*labels: str, each: int = 40, **options: object) -> dict[str, bytes]:
    """Return name -> file for `each` images per class; without labels, `each` images at the top level."""
    folders = [f"{label}/" for label in labels] or [""]
    many = [f"{folder}{number:04d}.png" for folder in folders for number in range(each)]
    return {name: picture(number * 3, **options) for number, name in enumerate(many)}  # type: ignore[arg-type]


def zipped(content: Mapping[str, bytes]) -> bytes:
    """Return the bytes of a zip with `content` in its order; the same content gives the same bytes.

    A name that ends in "/" is a folder.
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def with_raw_names(content: Mapping[bytes, bytes], extra: Callable[[bytes], bytes] = lambda _: b"") -> bytes:
    """Return a zip whose names are these bytes, without a word on their encoding; `extra` gives extra fields."""
    entries, directory = bytearray(), bytearray()
    for name, data in content.items():
        sizes = struct.pack("<III", zlib.crc32(data), len(data), len(data))
        directory += b"PK\x01\x02" + struct.pack("<HHHHHH", 20, 20, 0, 0, 0, 0x21) + sizes
        directory += (
            struct.pack("<HHHHHII", len(name), len(extra(name)), 0, 0, 0, 0, len(entries)) + name + extra(name)
        )
        entries += b"PK\x03\x04" + struct.pack("<HHHHH", 20, 0, 0, 0, 0x21) + sizes
        entries += struct.pack("<HH", len(name), 0) + name + data
    counts = struct.pack("<HHHHIIH", 0, 0, len(content), len(content), len(directory), len(entries), 0)
    return bytes(entries + directory + b"PK\x05\x06" + counts)


def write(path: Path, content: Mapping[str, bytes]) -> Path:
    """Write a zip with `content` to `path`, and return `path`."""
    path.write_bytes(zipped(content))
    return path
