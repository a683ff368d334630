"""Unpacking of a zip into a data set, and the process with limited rights that does it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gan.datasets import DatasetUnavailableError, uploaded
from gan.uploads import unpack as unpacking
from gan.uploads.pictures import ImageFacts
from gan.uploads.problems import ArchiveRefusedError
from gan.uploads.unpack import unpack
from tests.gan.uploads.zips import broken, files, picture, write
from tests.hostile.payloads import saved


def run(*arguments: str) -> list[dict[str, Any]]:
    """Run the process. Return the lines of JSON that it writes."""
    argv = [sys.executable, "-m", "gan.uploads", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env={**os.environ})
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_an_unpacked_data_set_can_be_loaded(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", files("bag", "shoe", each=40))
    progress: list[tuple[str, int, int]] = []
    made = unpack(path, tmp_path / "out", "mine", on_progress=lambda *step: progress.append(step))
    info = made.info
    assert (info.num_images, info.channels, info.height, made.held_out) == (72, 3, 32, 8)
    assert [(c.id, c.label, c.count) for c in info.classes] == [(0, "bag", 36), (1, "shoe", 36)]
    data = uploaded.load(tmp_path / "out", info)
    assert data.sha256 == info.sha256 == data.digest()
    assert data.labels is not None and data.labels.bincount().tolist() == [36, 36]
    assert data.held_out is not None and data.held_out.labels is not None
    assert data.held_out.labels.tolist() == [0] * 4 + [1] * 4
    assert progress[0] == ("checking", 1, 80) and progress[-1] == ("preparing", 80, 80)


def test_grey_images_without_labels(tmp_path: Path) -> None:
    made = unpack(write(tmp_path / "a.zip", files(each=70, size=(28, 28), mode="L")), tmp_path / "out", "mine")
    data = uploaded.load(tmp_path / "out", made.info)
    assert data.labels is None and data.images.shape == (63, 1, 28, 28) and "28 x 28" in made.preparation.words
    assert data.held_out is not None and len(data.held_out) == 7


def test_grey_images_that_are_stored_with_colours_become_grey(tmp_path: Path) -> None:
    content = files(each=64, mode="L", size=(20, 20))
    ramp = Image.fromarray(np.linspace(0, 255, 400).astype(np.uint8).reshape(20, 20))
    stored = {"a.jpg": saved(ramp.convert("RGB"), "JPEG"), "b.png": saved(ramp.convert("P"), "PNG")}
    assert unpack(write(tmp_path / "a.zip", {**content, **stored}), tmp_path / "a", "mine").info.channels == 1
    one = {**content, **stored, "z.png": picture(9, size=(20, 20))}
    assert unpack(write(tmp_path / "b.zip", one), tmp_path / "b", "mine").info.channels == 3


@pytest.mark.parametrize(
    ("odd", "note"),
    [
        (np.linspace(0, 4095, 400).astype(np.uint16), "64 images have 16 bits per value, but no value above 12 bits"),
        (np.arange(400).astype(np.uint8) % 10, "nearly black: the brightest value of all is 9 of 255"),
    ],
)
def test_images_that_become_nearly_black_are_told(tmp_path: Path, odd: NDArray[Any], note: str) -> None:
    content = {f"{n}.png": saved(Image.fromarray(odd.reshape(20, 20)), "PNG") for n in range(64)}
    made = unpack(write(tmp_path / "a.zip", content), tmp_path / "out", "mine")
    assert len(made.notes) == 1 and note in made.notes[0]


def test_the_notes_name_litter_and_exif_that_cannot_be_read(tmp_path: Path) -> None:
    exif = saved(Image.new("RGB", (20, 20)), "JPEG", exif=b"Exif\0\0??*\0\x08\0\0\0")
    made = unpack(
        write(tmp_path / "a.zip", {**files(each=64), "a.jpg": exif, "._a.jpg": b"x"}), tmp_path / "o", "mine"
    )
    assert made.notes[0].startswith("Left out: 1 file")
    assert made.notes[1] == "1 image has EXIF data that cannot be read; they were not rotated."


def test_the_digest_depends_on_the_zip_and_the_size(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", files(each=64))
    digests = [unpack(path, tmp_path / str(i), "mine", side).info.sha256 for i, side in enumerate((16, 16, 20))]
    assert digests[0] == digests[1] != digests[2]


def test_every_bad_file_is_named_with_its_reason(tmp_path: Path) -> None:
    bad = {"a.png": b"no image", "b.png": broken(), "c.webp": picture()}
    path = write(tmp_path / "a.zip", {**files(each=64), **bad})
    with pytest.raises(ArchiveRefusedError) as caught:
        unpack(path, tmp_path / "out", "mine")
    found = {p.file: p.code for p in caught.value.problems}
    assert found == {"a.png": "unsupported-image", "b.png": "corrupt-image"}
    assert not (tmp_path / "out" / "about.json").exists()


def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {**files(each=64), "z.png": broken()})
    with pytest.raises(ArchiveRefusedError, match=r"'z\.png'") as caught:
        unpack(path, tmp_path / "out", "mine")
    assert [(p.file, p.code) for p in caught.value.problems] == [("z.png", "corrupt-image")]


@pytest.mark.parametrize(
    ("headless", "undecodable", "rest"),
    [
        (100, 0, None),
        (0, 100, None),
        (60, 40, None),
        (300, 0, "Further problems that are not listed: 200."),
        (300, 1, "Further problems that are not listed: 200. The remaining images were not checked."),
        (0, 101, "The remaining images were not checked."),
        (60, 41, "The remaining images were not checked."),
    ],
)
def test_at_most_a_hundred_bad_files_are_named(
    tmp_path: Path, headless: int, undecodable: int, rest: str | None
) -> None:
    bad = {f"{n:03d}.png": b"no image" for n in range(headless)} | {f"z{n}.png": broken() for n in range(undecodable)}
    with pytest.raises(ArchiveRefusedError) as caught:
        unpack(write(tmp_path / "a.zip", bad), tmp_path / "out", "mine")
    listed = caught.value.problems
    assert [p.file in bad for p in listed[:100]] == [True] * 100
    assert [p.detail for p in listed[100:]] == ([rest] if rest else [])


def test_a_data_set_that_does_not_fit_in_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MAX_BYTES", 1000)
    with pytest.raises(ArchiveRefusedError, match="smaller size"):
        unpack(write(tmp_path / "a.zip", files(each=64)), tmp_path / "out", "mine")


@pytest.mark.parametrize(
    ("sizes", "side"),
    [([(28, 28)] * 3, 28), ([(500, 300)] * 3, 64), ([(500, 20)] * 3, 32), ([(9, 9)] * 3, 32), ([(200, 200)] * 3, 64)],
)
def test_the_side_fits_the_images(sizes: list[tuple[int, int]], side: int) -> None:
    assert unpacking._fitting_side([ImageFacts(*size, grey=False) for size in sizes]) == side


def test_a_changed_file_is_not_loaded(tmp_path: Path) -> None:
    made = unpack(write(tmp_path / "a.zip", files(each=64)), tmp_path / "out", "mine")
    images = tmp_path / "out" / "images.bin"
    content = images.read_bytes()
    images.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(DatasetUnavailableError, match="not the ones"):
        uploaded.load(tmp_path / "out", made.info)
    images.write_bytes(content[:-1])
    with pytest.raises(DatasetUnavailableError, match="Upload it again"):
        uploaded.load(tmp_path / "out", made.info)
    with pytest.raises(DatasetUnavailableError, match="Upload it again"):
        uploaded.mapped(tmp_path / "out", made.info)


def test_a_memory_map_equals_the_loaded_images(tmp_path: Path) -> None:
    for name, content in (("classes", files("bag", "shoe")), ("plain", files(each=64))):
        made = unpack(write(tmp_path / f"{name}.zip", content), tmp_path / name, "mine")
        data, (images, labels) = (
            uploaded.load(tmp_path / name, made.info),
            uploaded.mapped(tmp_path / name, made.info),
        )
        assert (data.images.numpy() == images).all()
        assert (labels is None) == (data.labels is None) == (name == "plain")
        assert labels is None or data.labels is None or (data.labels.numpy() == labels).all()


def test_the_process_writes_its_progress_and_result(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", files("bag", "shoe"))
    assert run("inspect", str(path)) == [{"found": {"images": 80, "labels": ["bag", "shoe"], "notes": []}}]
    lines = run("unpack", str(path), str(tmp_path / "out"), "mine", "24")
    assert {"progress", "preparation"} <= {key for line in lines for key in line}
    assert lines[-1]["found"]["info"]["height"] == 24 and (tmp_path / "out" / "about.json").exists()


def test_the_process_writes_the_reasons_of_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"x")
    lines = run("inspect", str(tmp_path / "a.zip"))
    assert lines[0]["refused"][0]["code"] == "corrupt-archive"
