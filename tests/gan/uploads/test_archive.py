"""The checks of a zip by its directory: each problem names its entry, and nothing is repaired."""

from __future__ import annotations

import stat
import warnings
import zipfile
from pathlib import Path

import pytest

from gan.uploads import archive, layout
from gan.uploads.problems import ArchiveRefusedError
from tests.gan.uploads.zips import files, picture, write

GOOD = files("bag", "shoe", each=40)


def refused(path: Path) -> list[tuple[str | None, str, str]]:
    """Return (file, code, detail) of each reason for which the zip at `path` is refused."""
    with pytest.raises(ArchiveRefusedError) as caught:
        archive.read(path)
    return [(p.file, p.code, p.detail) for p in caught.value.problems]


def test_folders_are_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    litter = {"__MACOSX/bag/._0001.png": b"x", "shoe/.DS_Store": b"x", "bag/": b""}
    found = archive.read(write(tmp_path / "a.zip", {**files("shoe", "bag"), **litter}))
    assert found.labels == ("bag", "shoe") and len(found.files) == 80
    first, last = found.files[0], found.files[-1]
    assert (first.name, first.class_id, last.name, last.class_id) == ("bag/0000.png", 0, "shoe/0039.png", 1)
    assert found.notes == (
        "Left out: 2 files and folders that systems and programs leave beside images, such as "
        "'__MACOSX/bag/._0001.png'.",
    )


def test_folders_with_numbers_as_names_are_in_numerical_order(tmp_path: Path) -> None:
    content = files(*map(str, range(11)), each=6)
    assert archive.read(write(tmp_path / "a.zip", content)).labels == tuple(map(str, range(11)))


def test_without_folders_there_are_no_labels(tmp_path: Path) -> None:
    found = archive.read(write(tmp_path / "a.zip", files(each=64)))
    assert found.labels == () and {image.class_id for image in found.files} == {0}


def test_one_folder_around_all_classes_is_ignored(tmp_path: Path) -> None:
    around = {"my data/": b"", **{f"my data/{name}": data for name, data in GOOD.items()}}
    found = archive.read(write(tmp_path / "a.zip", around))
    assert found.labels == ("bag", "shoe") and "'my data'" in found.notes[0]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../../evil.png", "leaves the archive"),
        ("bag/../../evil.png", "leaves the archive"),
        ("/etc/evil.png", "absolute"),
        ("C:/evil.png", "absolute"),
        ("bag\\evil.png", "backslash"),
        ("bag/\u202eevil.png", "U+202E, which turns the direction"),
        ("bag/\u2066evil.png", "U+2066, which turns the direction"),
        ("bag/new\nline.png", "control character U+000A"),
        ("bag/line\u2028line.png", "control character U+2028"),
        ("bag/" + "x" * 1000, "longer than 1,000"),
        ("BAG/0000.PNG", "same name"),
    ],
)
def test_an_unsafe_name_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    found = refused(write(tmp_path / "a.zip", {**GOOD, name: picture()}))
    assert [(file, code) for file, code, _ in found] == [(name[:200], "unsafe-archive")]
    assert reason in found[0][2] and "Entry 81" in found[0][2]


def test_a_nul_in_a_name_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {**GOOD, "bag/evilXpng.png": picture()})
    path.write_bytes(path.read_bytes().replace(b"evilXpng", b"evil\0png"))
    assert [code for _, code, _ in refused(path)] == ["unsafe-archive"]


def test_a_duplicate_name_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", GOOD)
    with zipfile.ZipFile(path, "a") as more, pytest.warns(UserWarning, match="Duplicate name"):
        more.writestr("bag/0000.png", b"another")
    assert [(file, code) for file, code, _ in refused(path)] == [("bag/0000.png", "unsafe-archive")]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    path = write(tmp_path / "a.zip", GOOD)
    entry = zipfile.ZipInfo("bag/link.png")
    entry.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(path, "a") as more:
        more.writestr(entry, "/etc/passwd")
    found = refused(path)
    assert found[0][:2] == ("bag/link.png", "unsafe-archive") and "link or a device" in found[0][2]


def test_an_encrypted_entry_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", GOOD)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert "encrypted" in refused(path)[0][2]


def test_an_uncommon_compression_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as made:
        made.writestr("bag/1.png", picture())
    assert "other than deflate" in refused(tmp_path / "a.zip")[0][2]


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    found = refused(write(tmp_path / "a.zip", {"bag/1.png": bytes(20_000_000)}))
    assert found[0][1] == "archive-too-large" and "times its size" in found[0][2]


def test_every_limit_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.zip", GOOD)
    for module, limit, code in (
        (archive, "MAX_ENTRIES", "unsafe-archive"),
        (archive, "MAX_EXPANDED_BYTES", "archive-too-large"),
        (archive, "MAX_FILE_BYTES", "image-too-large"),
        (layout, "MAX_CLASSES", "bad-layout"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(module, limit, 1)
            assert code in [found for _, found, _ in refused(path)], limit


def test_overlapping_entries_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", GOOD)
    content = bytearray(path.read_bytes())
    second = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
    content[second + 42 : second + 46] = (4).to_bytes(4, "little")
    path.write_bytes(content)
    assert "unsafe-archive" in [code for _, code, _ in refused(path)]


def test_other_files_and_nested_archives_are_named(tmp_path: Path) -> None:
    found = refused(
        write(tmp_path / "a.zip", {**GOOD, "bag/in.zip": b"PK", "bag/a.svg": b"<svg/>", "notes.txt": b""})
    )
    assert [(file, code) for file, code, _ in found] == [
        ("bag/in.zip", "unsafe-archive"),
        ("bag/a.svg", "unsupported-image"),
        ("notes.txt", "unsupported-image"),
    ]


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        ({}, "dataset-too-small", "0 images"),
        (files(each=3), "dataset-too-small", "3 images"),
        (files("bag", each=70), "one-class", "'bag'"),
        ({**GOOD, "hat/": b""}, "empty-class", "'hat'"),
        ({**GOOD, "hat/1.png": picture()}, "dataset-too-small", "'hat' has 1 image"),
        ({**GOOD, "loose.png": picture()}, "bad-layout", "loose.png"),
        ({**GOOD, "bag/deep/1.png": picture()}, "bad-layout", "too deep"),
    ],
)
def test_a_layout_that_makes_no_data_set_is_refused(
    tmp_path: Path, content: dict[str, bytes], code: str, words: str
) -> None:
    found = refused(write(tmp_path / "a.zip", content))
    assert found[0][1] == code and words in found[0][2]


@pytest.mark.parametrize("damage", [lambda d: b"no zip at all", lambda d: d[:-30], lambda d: b""])
def test_a_file_that_is_not_a_zip_is_refused(tmp_path: Path, damage: object) -> None:
    path = write(tmp_path / "a.zip", GOOD)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert refused(path)[0][1] == "corrupt-archive"


def test_problems_of_files_folders_and_counts_are_reported_together(tmp_path: Path) -> None:
    odd = {"z.txt": b"", "bag/data.pkl": b"", "a.png": picture(), "bag/deep/1.png": picture(), "hat/": b""}
    content = {**odd, "b.png": picture(), "cap/1.png": picture(), **files("bag", each=3)}
    found = [(file, code) for file, code, _ in refused(write(tmp_path / "a.zip", content))]
    assert found == [
        ("bag/data.pkl", "pickle-not-accepted"),
        ("z.txt", "unsupported-image"),
        (None, "dataset-too-small"),
        ("a.png", "bad-layout"),
        ("bag/deep/1.png", "bad-layout"),
        ("hat", "empty-class"),
        ("cap", "dataset-too-small"),
    ]
    assert refused(tmp_path / "a.zip")[3][2].startswith("'a.png' and 1 more image are beside the class folders")
    backwards = write(tmp_path / "b.zip", dict(reversed(content.items())))
    assert [(file, code) for file, code, _ in refused(backwards)] == found


def test_nothing_else_is_checked_in_an_unsafe_archive(tmp_path: Path) -> None:
    found = refused(write(tmp_path / "a.zip", {"../evil.png": picture(), "notes.txt": b"", "hat/": b""}))
    assert [(file, code) for file, code, _ in found] == [("../evil.png", "unsafe-archive")]


@pytest.mark.parametrize("around", ["", "my data/"])
def test_files_of_other_types_cause_no_further_problems(tmp_path: Path, around: str) -> None:
    odd = ["read.me", *(f"{around}{name}" for name in ("hat/", "hat/1.txt", "hat/deep/2.txt", "bag/3.txt", "4.txt"))]
    good = {f"{around}{name}": data for name, data in GOOD.items()}
    found = refused(write(tmp_path / "a.zip", {**dict.fromkeys(odd, b""), **good}))
    assert sorted(str(file) for file, _, _ in found) == sorted(name for name in odd if not name.endswith("/"))
    assert {code for _, code, _ in found} == {"unsupported-image"}


def test_a_folder_of_other_files_is_not_a_class(tmp_path: Path) -> None:
    found = refused(write(tmp_path / "a.zip", {**files("images", each=70), "labels/": b"", "labels/1.txt": b""}))
    assert [(file, code) for file, code, _ in found] == [("labels/1.txt", "unsupported-image"), (None, "one-class")]


def test_other_files_do_not_count_as_images(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {**files(each=60), **{f"{n}.txt": b"" for n in range(9)}})
    assert refused(path)[-1] == (None, "dataset-too-small", "The archive has 60 images; at least 64 are needed.")


def test_of_many_problems_the_first_and_the_number_of_the_others_are_reported(tmp_path: Path) -> None:
    found = refused(write(tmp_path / "a.zip", {**GOOD, **{f"{n:04d}.txt": b"" for n in range(1334)}}))
    assert [file for file, _, _ in found] == [*(f"{n:04d}.txt" for n in range(100)), None]
    assert found[-1][1:] == ("unsupported-image", "Further problems that are not listed: 1,234.")


def test_exactly_as_many_problems_as_the_limit_are_all_reported(tmp_path: Path) -> None:
    found = refused(write(tmp_path / "a.zip", {**GOOD, **{f"{n}.txt": b"" for n in range(100)}}))
    assert len(found) == 100 and all(file for file, _, _ in found)


def test_many_problems_of_one_code_do_not_hide_another(tmp_path: Path) -> None:
    found = refused(write(tmp_path / "a.zip", {**GOOD, "hat/": b"", **{f"{n}.txt": b"" for n in range(300)}}))
    assert ("hat", "empty-class") in [(file, code) for file, code, _ in found]
    assert len(found) == 101 and found[-1][1:] == ("unsupported-image", "Further problems that are not listed: 201.")


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["./", "./bag/", "./bag/{}.png", "./shoe/{}.png"], id="bsdtar and tar.exe begin with a dot"),
        pytest.param(["bag/", "bag/", "bag//{}.png", "shoe/./{}.png"], id="folders twice, empty parts"),
        pytest.param(["bag\\", "bag\\{}.png", "shoe\\{}.png"], id="Compress-Archive"),
        pytest.param(["bag/a at 9.41\u202fAM {}.png", "shoe/\u200e{}.png"], id="screenshots, marks of direction"),
    ],
)
def test_unusual_names_that_can_do_no_harm_are_taken(tmp_path: Path, names: list[str]) -> None:
    folders = [(name, b"") for name in names if "{}" not in name]
    images = [(name.format(i), picture(i)) for i in range(40) for name in names if "{}" in name]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made, warnings.catch_warnings(action="ignore"):
        for name, data in [*folders, *images]:
            made.writestr(zipfile.ZipInfo(name), data)
    assert archive.read(tmp_path / "a.zip").labels == ("bag", "shoe")


@pytest.mark.parametrize(
    "litter",
    [
        "bag/._0000.png",
        ".ipynb_checkpoints/",
        "bag/.ipynb_checkpoints/0000-checkpoint.png",
        "bag/.gitkeep",
        ".nomedia",
        "bag/ehthumbs.db",
        "bag/THUMBS.DB",
        "bag/Icon\r",
        "bag/Icon\uf00d",
        "bag/0000.png:Zone.Identifier",
        "@eaDir/0000.png/SYNOFILE_THUMB_M.jpg",
        "$RECYCLE.BIN/S-1-5-18/desktop.ini",
        "../.DS_Store",
    ],
)
def test_litter_is_left_out_before_anything_is_judged_and_counted(tmp_path: Path, litter: str) -> None:
    found = archive.read(write(tmp_path / "a.zip", {**GOOD, litter: b""}))
    assert found.labels == ("bag", "shoe") and len(found.files) == 80
    assert "Left out: 1 file or folder" in found.notes[0]


@pytest.mark.parametrize("label", ["\U0001f469\u200d\U0001f680", "می\u200cخواهم", "靴\u3000赤", "Maße"])
def test_a_label_may_have_any_letters(tmp_path: Path, label: str) -> None:
    assert label in archive.read(write(tmp_path / "a.zip", files(label, "Masse"))).labels


def test_labels_are_in_normal_form_c_without_marks_that_nobody_sees(tmp_path: Path) -> None:
    content = {**files("cafe\u0301", each=40), **files("caf\u00e9\u200b", "shoe", each=30)}
    found = archive.read(write(tmp_path / "a.zip", content))
    assert found.labels == ("caf\u00e9", "shoe")
    assert [image.class_id for image in found.files].count(0) == 70 and "they are one class" in found.notes[0]


def test_files_whose_names_differ_in_normal_form_alone_are_refused(tmp_path: Path) -> None:
    twice = {"bag/e\u0301.png": picture(), "bag/\u00e9.png": picture()}
    assert "same name" in refused(write(tmp_path / "a.zip", {**GOOD, **twice}))[0][2]


@pytest.mark.parametrize("parts", [("train", "val"), ("a/train", "a/test")])
def test_class_folders_in_several_folders_are_one_sentence(tmp_path: Path, parts: tuple[str, str]) -> None:
    content = {f"{part}/{name}": data for part in parts for name, data in GOOD.items()}
    found = refused(write(tmp_path / "a.zip", content))
    assert len(found) == 1 and "lie in several folders: " in found[0][2] and "'train'" in found[0][2]


def test_a_file_of_labels_is_answered_with_how_labels_are_given(tmp_path: Path) -> None:
    for name in ("dataset.json", "metadata.csv"):
        detail = refused(write(tmp_path / "a.zip", {**GOOD, name: b"{}"}))[0][2]
        assert name in detail and "the name of the folder is its label" in detail


def test_the_folders_of_stylegan_are_no_classes(tmp_path: Path) -> None:
    content = {f"{n // 1000:05d}/img{n:08d}.png": picture(n) for n in range(960, 1040)}
    found = archive.read(write(tmp_path / "a.zip", content))
    assert found.labels == () and "StyleGAN" in found.notes[0]
    odd = {**content, "00001/photo.png": picture()}
    assert archive.read(write(tmp_path / "b.zip", odd)).labels == ("00000", "00001")


def test_a_name_that_is_marked_as_utf8_and_is_not_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {**GOOD, "bag/é.png": picture()})
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xe9\xe9"))
    assert "marked as UTF-8, but is not" in refused(path)[0][2]
