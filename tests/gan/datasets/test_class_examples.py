"""Examples of each class: which images they are, and what a class with too few images gets."""

from __future__ import annotations

import numpy as np

from gan.datasets.class_examples import class_examples

IMAGES = np.arange(9, dtype=np.uint8).reshape(9, 1, 1, 1)
LABELS = np.array([0, 1, 0, 1, 0, 1, 0, 0, 0])


def test_examples_are_spread_over_the_class() -> None:
    assert class_examples(IMAGES, LABELS, [0], 3).ravel().tolist() == [0, 4, 8]
    assert class_examples(IMAGES, LABELS, [1, 0], 2).ravel().tolist() == [1, 5, 0, 8]


def test_white_images_fill_up_a_small_class() -> None:
    assert class_examples(IMAGES, LABELS, [1], 5).ravel().tolist() == [1, 3, 5, 255, 255]
    assert class_examples(IMAGES, LABELS, [2], 2).ravel().tolist() == [255, 255]


def test_without_classes_examples_are_of_all_images() -> None:
    assert class_examples(IMAGES, None, [None], 3).ravel().tolist() == [0, 4, 8]


def test_channels_come_last() -> None:
    pixels = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    drawn = class_examples(pixels, None, [None], 2)
    assert drawn.shape == (2, 4, 5, 3) and (drawn[1] == pixels[1].transpose(1, 2, 0)).all()
