"""Gathering of a folder: links are followed, and nothing is left out without a word."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from gan.uploads.zipped import UnreadableImagesError, zipped


def gathered(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names in the zip of `folder`, and the notes."""
    notes: list[str] = []
    with zipped(folder, notes.append) as path, zipfile.ZipFile(path) as file:
        return sorted(name for name in file.namelist() if not name.endswith("/")), notes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label in ("cat", "dog"):
        (tmp_path / "store" / label).mkdir(parents=True)
        (tmp_path / "store" / label / "1.png").write_bytes(b"x")
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_links_to_folders_and_files_are_followed(folder: Path) -> None:
    (folder / "cat").symlink_to("../store/cat")
    (folder / "cat too").symlink_to("../store/cat")
    (folder / "all").symlink_to("../store")
    (folder / "one.png").symlink_to("../store/dog/1.png")
    names, notes = gathered(folder)
    assert names == ["all/cat/1.png", "all/dog/1.png", "cat too/1.png", "cat/1.png", "one.png"] and notes == []


def test_a_link_to_a_folder_around_it_is_told_and_left_out(folder: Path) -> None:
    (folder / "cat").symlink_to("../store/cat")
    (folder / "again").symlink_to(".")
    names, notes = gathered(folder)
    assert names == ["cat/1.png"] and "again is left out: it is a link to a folder around it" in notes[0]


def test_everything_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "gone.png").symlink_to("nowhere")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png")).write_bytes(b"x")
    os.mkfifo(folder / "pipe")
    notes: list[str] = []
    with pytest.raises(UnreadableImagesError) as caught, zipped(folder, notes.append):
        raise AssertionError("It was gathered.")
    assert "gone.png is a link to a file that does not exist" in str(caught.value)
    assert "caf\\xe9.png is not UTF-8" in str(caught.value) and "pipe is left out" in notes[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="The administrator may read everything.")
def test_a_folder_and_a_file_without_permission_are_named(folder: Path) -> None:
    (folder / "cat").mkdir(mode=0o000)
    (folder / "1.png").touch(mode=0o000)
    (folder / "lost+found").mkdir(mode=0o000)
    with (
        pytest.raises(UnreadableImagesError, match=r"1\.png cannot be read.*cat cannot be read") as caught,
        zipped(folder),
    ):
        raise AssertionError("It was gathered.")
    assert "lost+found" not in str(caught.value)


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(UnreadableImagesError, match=r"nowhere\.zip cannot be read: there is no such"),
        zipped(tmp_path / "nowhere.zip"),
    ):
        raise AssertionError("It was gathered.")
