"""Thumbnails of previews, which the dashboard cuts out for its list."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from api.ui import files


def _png(width: int, height: int) -> bytes:
    """Return a picture whose left half is black and whose right half is white."""
    picture = Image.new("L", (width, height))
    picture.paste(255, (width // 2, 0, width, height))
    content = io.BytesIO()
    picture.save(content, format="PNG")
    return content.getvalue()


def test_a_thumbnail_is_the_top_right_corner() -> None:
    with Image.open(io.BytesIO(files.thumbnail(_png(600, 500)))) as small:
        assert small.size == (116, 58) and small.getextrema() == (255, 255)
    with Image.open(io.BytesIO(files.thumbnail(_png(40, 20)))) as small:
        assert small.size == (40, 20)


@pytest.mark.parametrize("content", [_png(5000, 4000), b"no picture"])
def test_what_is_no_thumbnail_is_refused(content: bytes) -> None:
    with pytest.raises((ValueError, OSError)):
        files.thumbnail(content)
