"""Text in pictures: no character is drawn as the box of a missing one, and scripts keep their shape and order."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from gan import lettering

BOX = "\U0010fffd"  # of private use: no font has it


def drawn(text: str, size: int = 24) -> np.ndarray:
    """Return the pixels of a line of text, True where there is ink, without empty columns around it."""
    sheet = Image.new("L", (800, 60), 255)
    lettering.line(text, size).draw(ImageDraw.Draw(sheet), 790, 30)
    ink = np.asarray(sheet) < 128
    columns = np.flatnonzero(ink.any(axis=0))
    return ink[:, columns[0] : columns[-1] + 1]


@pytest.mark.parametrize(
    "text",
    [
        "Sneaker",
        "café",
        "日本語の靴",
        "한국어",
        "العربية",
        "עברית",
        "हिन्दी",
        "தமிழ்",
        "ไทย",
        "кошка",
        "Ελλάδα",
        "\U0001f680",
    ],
)
def test_every_character_has_a_glyph(text: str) -> None:
    assert all(face is not None for face, _ in lettering._by_face(text))
    box = drawn(BOX)
    letters = drawn(text[0])
    assert letters.shape != box.shape or (letters != box).any()


def test_letters_are_joined_as_their_script_is_written() -> None:
    assert lettering.line("العربية", 24).width < sum(lettering.line(letter, 24).width for letter in "العربية")
    assert lettering.line("\U0001f469\u200d\U0001f680", 24).width == lettering.line("\U0001f680", 24).width


def test_runs_are_in_visual_order() -> None:
    def order(text: str) -> list[str]:
        return [run.text.strip() for run in lettering.line(text, 12).runs]

    assert order("dog 犬") == ["dog", "犬"]
    assert order("כלב dog 犬") == ["dog", "犬", "כלב"]
    assert order("dog כלב 犬") == ["dog", "כלב", "犬"]


def test_a_line_ends_where_it_is_put() -> None:
    sheet = Image.new("L", (300, 60), 255)
    lettering.line("café 犬", 18).draw(ImageDraw.Draw(sheet), 200, 30)
    rows, columns = np.nonzero(np.asarray(sheet) < 128)
    assert 190 <= columns.max() <= 200 and 18 < rows.min() < 30 < rows.max() < 42


def test_without_the_packages_pillows_font_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettering, "_PACKAGES", ("no_such_fonts",))
    lettering._faces.cache_clear()
    lettering._font.cache_clear()
    try:
        assert lettering.line("Sneaker", 12).width > 20
    finally:
        lettering._faces.cache_clear()
        lettering._font.cache_clear()
