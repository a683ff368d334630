"""The page of speed: what is measured goes between its marks, and nothing else is touched."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from benchmarks.bench import PARTS, replace

ROOT = Path(__file__).parents[2]


def test_figures_take_the_place_of_the_last_ones(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- measured: begin -->\n<!-- measured: end -->\n### after\n")
    replace(page, "Images", "old\n")
    replace(page, "A job's start", "first\n\nof two\n")
    replace(page, "Images", "new\n")
    assert page.read_text() == (
        "before\n<!-- measured: begin -->\n\n### A job's start\n\nfirst\n\nof two\n\n### Images\n\nnew\n\n"
        "<!-- measured: end -->\n### after\n"
    )


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing to see")
    with pytest.raises(ValueError, match="no marks"):
        replace(page, "Images", "new")
    assert page.read_text() == "nothing to see"


def test_every_part_has_its_command_and_its_figures_in_the_docs() -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    for title, command in PARTS.items():
        assert (ROOT / f"{command[0].replace('.', '/')}.py").is_file()
        assert f"### {title}\n\n`python -m {shlex.join(command)}`" in page
