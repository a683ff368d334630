"""The encoding of names in a zip: stated, or chosen and told."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from gan.uploads import archive
from gan.uploads.codepages import code_page_of
from gan.uploads.problems import ArchiveRefusedError
from tests.gan.uploads.zips import files, picture, with_raw_names


def zip_of(path: Path, labels: list[str], codec: str) -> Path:
    """Write a zip of class folders whose names are in `codec`, which it does not state."""
    content = {name.encode(codec): data for name, data in files(*labels).items()}
    path.write_bytes(with_raw_names(content))
    return path


@pytest.mark.parametrize(
    ("codec", "language", "labels"),
    [
        ("cp932", "Japanese", ["表", "スニーカー"]),
        ("cp932", "Japanese", ["ﾃｽﾄ", "写真"]),
        ("gbk", "simplified Chinese", ["猫", "狗"]),
        ("gbk", "simplified Chinese", ["运动鞋", "手提包"]),
        ("cp949", "Korean", ["고양이", "개"]),
        ("big5", "traditional Chinese", ["貓", "狗"]),
        ("cp437", "Western European", ["Bäume", "café"]),
        ("cp850", "Western European", ["São", "maçã"]),
        ("cp1252", "Western European", ["Bäume", "Häuser"]),
        ("cp866", "Cyrillic", ["кошка", "собака"]),
        ("cp1251", "Cyrillic", ["кошка", "собака"]),
        ("cp852", "Central European", ["kočka", "želva"]),
    ],
)
def test_names_in_a_code_page_are_read_and_the_choice_is_told(
    tmp_path: Path, codec: str, language: str, labels: list[str]
) -> None:
    found = archive.read(zip_of(tmp_path / "a.zip", labels, codec))
    assert sorted(found.labels) == sorted(labels)
    assert f"read as {language} ({codec})" in found.notes[0] and "does not say how" in found.notes[0]


def test_utf8_comes_before_the_code_pages(tmp_path: Path) -> None:
    found = archive.read(zip_of(tmp_path / "a.zip", ["表", "café"], "utf-8"))
    assert set(found.labels) == {"表", "café"} and "read as UTF-8" in found.notes[0]


def test_the_images_behind_decoded_names_can_be_read(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", ["表", "裏"], "cp932")
    found = archive.read(path)
    with zipfile.ZipFile(path) as source:
        assert all(source.read(image.entry).startswith(b"\x89PNG") for image in found.files)


def test_the_name_in_the_extra_field_of_info_zip_counts_if_it_belongs_to_the_name(tmp_path: Path) -> None:
    def extra(name: bytes) -> bytes:
        known = zlib.crc32(name if name.startswith(b"\x82") else b"another name")
        field = b"\x01" + struct.pack("<I", known) + "кот/".encode() + name[-8:]
        return struct.pack("<HH", 0x7075, len(field)) + field

    content = {name.encode("cp437"): data for name, data in files("é", "ü").items()}
    (tmp_path / "a.zip").write_bytes(with_raw_names(content, extra))
    assert archive.read(tmp_path / "a.zip").labels == ("ü", "кот")


def test_a_backslash_beside_slashes_is_refused_unless_windows_wrote_it(tmp_path: Path) -> None:
    for system, taken in ((0, True), (3, False)):
        path = tmp_path / f"{system}.zip"
        with zipfile.ZipFile(path, "w") as made:
            for name, data in {**files("bag", "shoe"), "bag\\x.png": picture()}.items():
                entry = zipfile.ZipInfo(name)
                entry.create_system = system
                made.writestr(entry, data)
        if taken:
            found = archive.read(path)
            assert found.labels == ("bag", "shoe") and len(found.files) == 81 and "backslashes" in found.notes[0]
        else:
            with pytest.raises(ArchiveRefusedError, match="has a backslash"):
                archive.read(path)


def test_every_byte_has_a_code_page() -> None:
    assert code_page_of([bytes(range(128, 256))]).codec
