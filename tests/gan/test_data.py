"""The range, padding and order of the images."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from gan.data import ImageDataset, RealBatches, to_unit_range
from gan.sample import to_pixels


def test_bytes_become_minus_one_to_one_with_black_padding() -> None:
    images = torch.tensor([[[[0, 255], [51, 204]]]], dtype=torch.uint8)
    unit = to_unit_range(images, 4)
    assert unit.dtype == torch.float32
    assert unit[0, 0, 1:3, 1:3].flatten().tolist() == pytest.approx([-1.0, 1.0, -0.6, 0.6])
    border = torch.ones(4, 4, dtype=torch.bool)
    border[1:3, 1:3] = False
    assert (unit[0, 0][border] == -1.0).all()


@pytest.mark.parametrize(("height", "width", "size"), [(12, 14, 16), (13, 16, 16), (28, 28, 32), (5, 5, 5)])
def test_the_conversion_back_gives_the_same_bytes(height: int, width: int, size: int) -> None:
    images = torch.randint(0, 256, (3, 2, height, width), dtype=torch.uint8)
    back = to_pixels(to_unit_range(images, size), height, width)
    assert back.shape == (3, height, width, 2)
    assert torch.equal(torch.from_numpy(back).permute(0, 3, 1, 2), images)


def stream(data: ImageDataset, seed: int, start: int, count: int) -> list[torch.Tensor]:
    """Return `count` images and labels of the stream from position `start` on."""
    images, labels = RealBatches(data, 16, seed).at(start, count)
    assert labels is not None
    return [images, labels]


def test_the_image_at_a_position_does_not_depend_on_the_calls_before(shapes: ImageDataset) -> None:
    whole = stream(shapes, 5, 0, 150)
    batches = RealBatches(shapes, 16, 5)
    for start in range(0, 150, 25):
        images, labels = batches.at(start, 25)
        assert labels is not None
        assert torch.equal(images, whole[0][start : start + 25])
        assert torch.equal(labels, whole[1][start : start + 25])
    assert torch.equal(stream(shapes, 5, 100, 25)[0], whole[0][100:125])


def test_each_epoch_has_every_image_once_in_a_new_order(shapes: ImageDataset) -> None:
    numbered = replace(shapes, labels=torch.arange(60))
    first, second = stream(numbered, 5, 0, 60)[1], stream(numbered, 5, 60, 60)[1]
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(60))
    assert first.tolist() != second.tolist()


def test_an_image_keeps_its_label(shapes: ImageDataset) -> None:
    images, labels = stream(shapes, 1, 0, 60)
    bright = [(image[0, 2:14] > 0.6).float().mean(1).view(3, 4)[:, :3].sum(1).argmax() for image in images]
    assert [int(b) for b in bright] == labels.tolist()


def test_another_seed_gives_another_order(shapes: ImageDataset) -> None:
    assert not torch.equal(stream(shapes, 1, 0, 60)[1], stream(shapes, 2, 0, 60)[1])
    # The CPU generator of torch uses only the lower 32 bits of a seed; these two seeds have the same ones.
    assert not torch.equal(stream(shapes, 1, 0, 60)[1], stream(shapes, 1 + 2**32, 0, 60)[1])


def test_images_of_a_wrong_shape_or_type_are_refused(shapes: ImageDataset) -> None:
    with pytest.raises(ValueError, match="uint8"):
        replace(shapes, images=shapes.images.float())
    with pytest.raises(ValueError, match="uint8"):
        replace(shapes, images=shapes.images[:, :, :5])
    with pytest.raises(ValueError, match="one label"):
        replace(shapes, labels=torch.zeros(3, dtype=torch.int64))


def test_the_digest_depends_on_every_byte_and_label(shapes: ImageDataset) -> None:
    assert shapes.labels is not None
    images, labels = shapes.images.clone(), shapes.labels.clone()
    assert replace(shapes, images=images, labels=labels).digest() == shapes.digest()
    images[7, 0, 3, 3] ^= 1
    labels[0] += 1
    assert (
        len({shapes.digest(), replace(shapes, images=images).digest(), replace(shapes, labels=labels).digest()}) == 3
    )


def test_random_labels_are_as_frequent_as_in_the_data_set(shapes: ImageDataset) -> None:
    assert shapes.labels is not None
    uneven = replace(shapes, labels=torch.where(shapes.labels == 2, 0, shapes.labels))
    drawn = RealBatches(uneven, 16, 0).random_labels(6000, torch.Generator().manual_seed(0))
    assert drawn is not None
    shares = torch.bincount(drawn, minlength=3) / 6000
    assert shares.tolist() == pytest.approx([2 / 3, 1 / 3, 0.0], abs=0.03)
