"""Image files without their metadata: EXIF, text, colour profiles, thumbnails.

Metadata must not decide over good pixels. If a file cannot be read, it is tried once more without metadata, whose
content is never decoded for that.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

_PNG: Final = b"\x89PNG\r\n\x1a\n"
# The pixels, their palette and transparency, and the frames of an animation, which is refused.
_PNG_KEPT: Final = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT")
_JPEG: Final = b"\xff\xd8"
_START_OF_SCAN, _COMMENT = 0xDA, 0xFE
_APP0, _APP14, _APP15 = 0xE0, 0xEE, 0xEF
_STANDALONE: Final = (0x01, *range(0xD0, 0xD9))
_WEBP_KEPT: Final = (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")
# Of the flags in VP8X: alpha and animation.
_WEBP_FLAGS: Final = 0x10 | 0x02


def without_metadata(data: bytes) -> bytes | None:
    """Return the image file `data` without metadata; None if it is no PNG, JPEG or WebP file, or has none."""
    if data.startswith(_PNG):
        kept = _PNG + b"".join(_png_chunks(data))
    elif data.startswith(_JPEG):
        kept = _jpeg(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        chunks = b"".join(_webp_chunks(data))
        kept = b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks
    else:
        return None
    return None if kept == data else kept


def _png_chunks(data: bytes) -> Iterator[bytes]:
    """Yield the chunks that the pixels need; and the EXIF data, which may say how to turn them, if it is whole."""
    at = len(_PNG)
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        chunk = data[at : at + length + 12]
        whole = len(chunk) == length + 12 and zlib.crc32(chunk[4:-4]) == struct.unpack(">I", chunk[-4:])[0]
        if kind in _PNG_KEPT or (kind == b"eXIf" and whole):
            yield chunk
        if kind == b"IEND":
            return
        at += length + 12


def _jpeg(data: bytes) -> bytes:
    """Return a JPEG without comments and application segments, but for those that say how colours are stored."""
    kept, at = bytearray(_JPEG), len(_JPEG)
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == _START_OF_SCAN:
            break
        end = at + 2
        if marker not in _STANDALONE:
            end += int.from_bytes(data[at + 2 : at + 4], "big")
        is_metadata = marker == _COMMENT or (_APP0 < marker <= _APP15 and marker != _APP14)
        if not is_metadata:
            kept += data[at:end]
        at = end
    return bytes(kept) + data[at:]


def _webp_chunks(data: bytes) -> Iterator[bytes]:
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack("<4sI", data[at : at + 8])
        end = at + 8 + length + length % 2
        if kind == b"VP8X":
            yield data[at : at + 8] + bytes([data[at + 8] & _WEBP_FLAGS]) + data[at + 9 : end]
        elif kind in _WEBP_KEPT:
            yield data[at:end]
        at = end
