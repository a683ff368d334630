"""A folder is sent whole: links are followed, and what cannot be sent is named."""

from __future__ import annotations

import errno
import os
import zipfile
from pathlib import Path

import pytest

from gantry.archive import as_archive, upload_name
from gantry.errors import FolderUnreadableError


def _sent(folder: Path) -> list[str]:
    with as_archive(folder) as packed, zipfile.ZipFile(packed) as file:
        return sorted(name for name in file.namelist() if not name.endswith("/"))


def test_links_are_followed_once(tmp_path: Path) -> None:
    store, folder = tmp_path / "store", tmp_path / "folder"
    for name in ("cat/1.png", "cat/deep/2.png", "dog.png"):
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_bytes(b"x")
    folder.mkdir()
    (folder / "cat").symlink_to("../store/cat")
    (folder / "kitten").symlink_to(store / "cat")
    (folder / "dog").mkdir()
    (folder / "dog" / "1.png").symlink_to(store / "dog.png")
    expected = ["cat/1.png", "cat/deep/2.png", "dog/1.png", "kitten/1.png", "kitten/deep/2.png"]
    assert _sent(folder) == expected
    (tmp_path / "link").symlink_to(folder)
    assert _sent(tmp_path / "link") == expected


def test_each_part_that_cannot_be_sent_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
    (folder / "cat" / "up").symlink_to("..")
    (folder / "cat" / "gone.png").symlink_to("nowhere")
    os.mkfifo(folder / "dog" / "pipe")
    Path(os.fsdecode(bytes(folder / "cat") + b"/caf\xe9.png")).write_bytes(b"x")
    other = tmp_path / "other"
    other.mkdir()
    (other / "again").symlink_to(folder / "dog")
    (folder / "linked").symlink_to(other)
    with pytest.raises(FolderUnreadableError) as refused, as_archive(folder):
        pass
    sentence = str(refused.value)
    for part, why in (
        ("cat/up", "leads to a folder that contains it"),
        ("cat/gone.png", "a link that leads nowhere"),
        (r"cat/caf\xe9.png", "its name is not UTF-8"),
        ("dog/pipe", "neither a file nor a folder"),
        ("linked/again", "a link inside of a linked folder"),
    ):
        assert f"{part}: " in sentence and why in sentence.split(f"{part}: ")[1].split(";")[0]
    sentence.encode()


def test_what_the_user_may_not_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine" / "cat").mkdir(parents=True)
    (tmp_path / "mine" / "dog.png").write_bytes(b"x")
    iterdir = Path.iterdir

    # Root may read everything, whatever the permissions are.
    def refused(path: Path) -> object:
        if path.name == "cat":
            raise PermissionError(errno.EACCES, "Permission denied")
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refused)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(FolderUnreadableError) as named, as_archive(tmp_path / "mine"):
        pass
    assert "cat: this folder cannot be read (Permission denied)" in str(named.value)
    assert "dog.png: this file cannot be read (Permission denied)" in str(named.value)


def test_the_name_of_an_upload_is_unicode(tmp_path: Path) -> None:
    (tmp_path / "my.bags").mkdir()
    assert upload_name(tmp_path / "my.bags") == "my.bags.zip"
    assert upload_name(Path(os.fsdecode(b"caf\xe9.zip"))) == r"caf\xe9.zip"
