"""Held-out images: which ones they are, and that they are separate from the training images."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gan.data import HeldOut, ImageDataset
from gan.datasets import DatasetUnavailableError, fashion_mnist, fashion_mnist_mini, load
from gan.datasets.make_fashion_mnist_mini import make
from gan.spec.catalog import BUILTIN_DATASETS
from gan.spec.installed import DEBIAN_FASHION_MNIST


def test_the_mini_set_holds_out_100_test_images_of_each_class() -> None:
    data = load("fashion-mnist-mini")
    assert data.held_out is not None
    assert data.held_out.images.shape == (1000, 1, 28, 28)
    assert data.held_out.labels is not None
    assert torch.bincount(data.held_out.labels).tolist() == [100] * 10
    assert data.held_out.digest() == fashion_mnist_mini.HELD_OUT_SHA256


def test_held_out_images_look_like_their_class_and_are_no_training_images() -> None:
    data = load("fashion-mnist-mini")
    assert data.held_out is not None
    assert data.labels is not None
    for class_id in range(10):
        train = data.images[data.labels == class_id].flatten(1).float()
        test = data.held_out.images[data.held_out.labels == class_id].flatten(1).float()
        similar = torch.corrcoef(torch.stack([train.mean(0), test.mean(0)]))[0, 1]
        assert similar > 0.98
        assert torch.cdist(test, train, compute_mode="donot_use_mm_for_euclid_dist").min() > 0


def test_the_digest_covers_only_the_training_images(shapes: ImageDataset) -> None:
    held_out = HeldOut(shapes.images[:4], torch.zeros(4, dtype=torch.int64))
    assert replace(shapes, held_out=held_out).digest() == shapes.digest()
    assert load("fashion-mnist-mini").digest() == BUILTIN_DATASETS["fashion-mnist-mini"].sha256


def test_held_out_images_move_with_the_others(shapes: ImageDataset) -> None:
    held_out = HeldOut(shapes.images[:4], torch.zeros(4, dtype=torch.int64))
    moved = replace(shapes, held_out=held_out).to("meta")
    assert moved.held_out is not None
    assert moved.held_out.images.device.type == "meta"
    assert len(moved.held_out) == 4


def test_held_out_images_of_another_shape_are_refused(shapes: ImageDataset) -> None:
    labels = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ValueError, match="uint8"):
        replace(shapes, held_out=HeldOut(shapes.images[:4, :, :5], labels))
    with pytest.raises(ValueError, match="one label"):
        replace(shapes, held_out=HeldOut(shapes.images[:4], labels[:3]))
    with pytest.raises(ValueError, match="must have labels"):
        replace(shapes, held_out=HeldOut(shapes.images[:4], None))


def test_a_damaged_or_changed_held_out_sheet_is_detected(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(fashion_mnist_mini.FOLDER, tmp_path / "mini"))
    sheet = folder / "held_out.png"
    sheet.write_bytes(sheet.read_bytes()[:9000])
    with pytest.raises(DatasetUnavailableError, match=r"held_out\.png"):
        fashion_mnist_mini.load(folder)
    shutil.copy(folder / "1.png", sheet)
    with pytest.raises(DatasetUnavailableError, match="wrong size"):
        fashion_mnist_mini.load(folder)


def test_the_script_makes_the_sheets_from_the_full_set(tmp_path: Path) -> None:
    if DEBIAN_FASHION_MNIST.exists():
        whole = load("fashion-mnist")
        assert whole.held_out is not None
        assert len(whole.held_out) == 10_000
        assert whole.held_out.digest() == fashion_mnist.HELD_OUT_SHA256
        make(tmp_path)
        assert torch.equal(fashion_mnist_mini.load(tmp_path).images, load("fashion-mnist-mini").images)
    else:
        with pytest.raises(DatasetUnavailableError):
            make(tmp_path)
