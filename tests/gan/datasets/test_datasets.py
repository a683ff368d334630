"""The built-in data sets: their content is verified, and errors name what is missing or damaged."""

from __future__ import annotations

import gzip
import importlib.util
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gan.datasets import DatasetUnavailableError, fashion_mnist, fashion_mnist_mini, idx, load
from gan.spec.catalog import BUILTIN_DATASETS
from gan.spec.installed import DEBIAN_FASHION_MNIST


def test_the_mini_set_is_500_images_of_each_class() -> None:
    data = load("fashion-mnist-mini")
    assert data.images.shape == (5000, 1, 28, 28)
    assert data.images.dtype == torch.uint8
    assert data.labels is not None
    assert torch.bincount(data.labels).tolist() == [500] * 10
    assert data.digest() == data.info.sha256 == BUILTIN_DATASETS["fashion-mnist-mini"].sha256


def test_the_images_of_the_mini_set_match_their_labels() -> None:
    data = load("fashion-mnist-mini")
    mean = {c.label: data.images[data.labels == c.id].float().mean(0)[0] for c in data.info.classes}
    # Trousers are narrow, with a gap between the legs. A sneaker is flat, so the upper rows are black.
    assert mean["Trouser"][20, 14] < mean["Trouser"][20, 11]
    assert mean["Sneaker"][:6].max() < 10 < mean["Ankle boot"][6].max()


def test_the_licence_is_beside_the_images() -> None:
    assert "Copyright (c) 2017 Zalando SE" in (fashion_mnist_mini.FOLDER / "LICENSE").read_text(encoding="utf-8")


def test_the_error_of_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'cifar'.*fashion-mnist-mini, fashion-mnist"):
        load("cifar")


def test_a_damaged_sheet_is_named(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(fashion_mnist_mini.FOLDER, tmp_path / "mini"))
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:5000])
    with pytest.raises(DatasetUnavailableError, match=r"3\.png"):
        fashion_mnist_mini.load(folder)


def test_swapped_sheets_are_detected(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(fashion_mnist_mini.FOLDER, tmp_path / "mini"))
    shutil.copy(folder / "4.png", folder / "3.png")
    with pytest.raises(DatasetUnavailableError, match="sha256"):
        fashion_mnist_mini.load(folder)


def test_a_missing_or_changed_list_of_labels_is_detected(tmp_path: Path) -> None:
    with pytest.raises(DatasetUnavailableError, match=r"labels\.txt"):
        fashion_mnist_mini.load(tmp_path)
    (tmp_path / "labels.txt").write_text("Hat\n", encoding="utf-8")
    with pytest.raises(DatasetUnavailableError, match=r"labels\.txt"):
        fashion_mnist_mini.load(tmp_path)


def write_idx(path: Path, array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    """Write `array` as a gzipped IDX file."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


def test_idx_files_are_read_as_their_header_says(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_idx(tmp_path / "a.gz", array)
    assert np.array_equal(idx.read(tmp_path / "a.gz"), array)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"plain",
        gzip.compress(b"\0\0\x08", mtime=0),
        gzip.compress(b"\0\0\x08\x01\0\0\0\x05abc", mtime=0),
        gzip.compress(b"x" * 9, mtime=0)[:20],
    ],
    ids=["empty", "plain", "half a header", "too few bytes", "cut off"],
)
def test_an_incomplete_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(DatasetUnavailableError, match=r"a\.gz"):
        idx.read(tmp_path / "a.gz")


def test_files_of_another_release_are_refused(tmp_path: Path) -> None:
    for part in ("train", "t10k"):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", np.zeros((4, 28, 28), dtype=np.uint8))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", np.zeros(4, dtype=np.uint8))
    with pytest.raises(DatasetUnavailableError, match="sha256"):
        fashion_mnist.load(tmp_path)


def test_the_error_names_both_ways_to_get_the_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # None in sys.modules makes the import of that module fail.
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DatasetUnavailableError, match="apt install") as caught:
        fashion_mnist.load(tmp_path)
    assert "gantry[hub]" in str(caught.value)


def test_the_full_set_is_read_if_installed_and_unavailable_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if DEBIAN_FASHION_MNIST.exists():
        data = load("fashion-mnist")
        assert data.images.shape == (60000, 1, 28, 28)
        mini = load("fashion-mnist-mini")
        assert torch.equal(data.images[data.labels == 7][:500], mini.images[mini.labels == 7])
    else:
        monkeypatch.setitem(sys.modules, "datasets", None)
        with pytest.raises(DatasetUnavailableError):
            load("fashion-mnist")


def test_importing_the_data_sets_does_not_import_the_hub_library() -> None:
    code = "import sys, gan.datasets; print('datasets' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert importlib.util.find_spec("gan.datasets") is not None
