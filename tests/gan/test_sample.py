"""Sampling: an image depends on weights, class, seed and truncation, and on nothing else."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from gan import checkpoint
from gan.data import ImageDataset
from gan.sample import CHUNK, SampleRequestItem, TrainedGenerator, grid_png, image_png
from gan.spec import TrainSpec
from gan.train import Trainer

Quick = Callable[..., TrainSpec]


def trained_generator(spec: TrainSpec, data: ImageDataset) -> TrainedGenerator:
    """Train `spec` and return its generator."""
    trainer = Trainer(spec, data)
    list(trainer.run())
    return TrainedGenerator.load(checkpoint.save_weights(trainer.weights(), spec, data.info, trainer.step))


@pytest.fixture(scope="module")
def generator(shapes: ImageDataset) -> TrainedGenerator:
    """Return a generator that is wide enough for torch to choose the kernels of realistic sizes."""
    from tests.gan.quick import quick_spec

    return trained_generator(quick_spec(generator={"base_channels": 32, "z_dim": 64}), shapes)


@pytest.mark.parametrize("count", [1, 3, 8, 64])
def test_an_image_does_not_depend_on_the_others_of_the_call(generator: TrainedGenerator, count: int) -> None:
    alone = {seed: generator.draw([seed % 3], [seed])[0] for seed in range(0, count, max(1, count // 8))}
    together = generator.draw([seed % 3 for seed in range(count)], list(range(count)))
    backwards = generator.draw([seed % 3 for seed in reversed(range(count))], list(reversed(range(count))))[::-1]
    assert together.shape == (count, 12, 14, 1)
    assert together.dtype == np.uint8
    assert np.array_equal(together, backwards)
    for seed, image in alone.items():
        assert np.array_equal(together[seed], image)


def test_images_before_rounding_are_equal_too(generator: TrainedGenerator) -> None:
    z, labels = torch.randn(CHUNK, 64), torch.arange(CHUNK) % 3
    whole = generator._forward(z, labels)
    for start in range(0, CHUNK, 5):
        assert torch.equal(generator._forward(z[start:], labels[start:])[0], whole[start])


def test_images_of_several_requests_share_a_forward_pass(generator: TrainedGenerator) -> None:
    items = [SampleRequestItem(i % 3, 5 * i, (1.0, 0.5, 0.7)[i % 3]) for i in range(CHUNK)]
    together = generator.draw_together(items)
    for i in (0, 1, 2, CHUNK - 1):
        class_id, seed, truncation = items[i]
        assert class_id is not None
        assert np.array_equal(together[i], generator.draw([class_id], [seed], truncation)[0])
        assert np.array_equal(together[i], generator.draw_together(items[i : i + 1])[0])


def test_class_seed_and_truncation_each_change_the_image(generator: TrainedGenerator) -> None:
    image = generator.draw([0], [5])
    assert np.array_equal(image, generator.draw([0], [5]))
    assert not np.array_equal(image, generator.draw([1], [5]))
    assert not np.array_equal(image, generator.draw([0], [6]))
    assert not np.array_equal(image, generator.draw([0], [5], truncation=0.5))


def test_truncation_reduces_variety(generator: TrainedGenerator) -> None:
    def spread(truncation: float) -> float:
        images = generator.draw([1] * 32, list(range(32)), truncation)
        return float(images.astype(float).std(axis=0).mean())

    assert spread(0.1) < spread(0.5) < spread(1.0)


@pytest.mark.parametrize(
    ("class_ids", "seeds", "truncation", "text"),
    [
        ([0], [], 1.0, "at least one seed"),
        ([0, 1], [1], 1.0, "one class per seed"),
        ([3], [1], 1.0, "from 0 to 2"),
        ([-1], [1], 1.0, "from 0 to 2"),
        (None, [1], 1.0, "needs a class"),
        ([0], [1], 0.0, "truncation"),
        ([0], [1], 1.5, "truncation"),
        ([0], [1], float("nan"), "truncation"),
    ],
)
def test_bad_arguments_are_refused(
    generator: TrainedGenerator, class_ids: list[int] | None, seeds: list[int], truncation: float, text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        generator.draw(class_ids, seeds, truncation)


def test_an_unconditional_generator_accepts_no_classes(quick: Quick, shapes: ImageDataset) -> None:
    generator = trained_generator(quick(preset="goodfellow2014"), shapes)
    assert generator.draw(None, [1, 2]).shape == (2, 12, 14, 1)
    with pytest.raises(ValueError, match="has no classes"):
        generator.draw([0], [1])


def test_the_spec_selects_uniform_latents(quick: Quick, shapes: ImageDataset) -> None:
    generator = trained_generator(quick(preset="goodfellow2014"), shapes)
    z = torch.stack([generator._latent(seed) for seed in range(50)])
    assert z.abs().max() <= 1


def test_weights_that_do_not_fit_their_spec_are_refused(quick: Quick, shapes: ImageDataset) -> None:
    weights = Trainer(quick(), shapes).weights()
    data = checkpoint.save_weights(weights, quick(generator={"z_dim": 9}), shapes.info, 1)
    with pytest.raises(checkpoint.CheckpointUnreadableError, match="do not fit"):
        TrainedGenerator.load(data)


def opened(data: bytes) -> Image.Image:
    """Return the image in the bytes of a file."""
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_an_image_becomes_a_png_of_the_same_size(channels: int, mode: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    png = opened(image_png(image))
    assert (png.mode, png.size) == (mode, (7, 5))
    assert np.array_equal(np.asarray(png).reshape(5, 7, channels), image)


def test_a_grid_is_enlarged_in_rows_with_labels_to_the_left() -> None:
    images = np.zeros((6, 28, 28, 1), dtype=np.uint8)
    images[3:] = 200
    plain, labelled = opened(grid_png(images, 2)), opened(grid_png(images, 2, ["Bag", "Ankle boot"]))
    assert plain.height == labelled.height >= 2 * 56
    assert labelled.width > plain.width >= 3 * 56
    pixels = np.asarray(plain.convert("L"))
    assert pixels[30, 30] == 0
    assert pixels[90, 150] == 200
    margin = np.asarray(labelled.convert("L"))[:, : labelled.width - plain.width]
    assert (margin[:58] < 128).any()
    assert (margin[58:] < 128).any()


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "L"), (3, "RGB"), (4, "RGB")])
def test_each_pixel_of_a_grid_equals_that_of_the_image(channels: int, mode: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 20, 30, channels), dtype=np.uint8)
    grid = opened(grid_png(images, 2))
    assert (grid.mode, grid.size) == (mode, (2 + 3 * 62, 2 + 2 * 42))
    pixels, colours = np.asarray(grid).reshape(86, 188, -1), channels - 1 + channels % 2
    for i, image in enumerate(images):
        top, left = 2 + i // 3 * 42, 2 + i % 3 * 62
        for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
            tile = pixels[top + y : top + 40 : 2, left + x : left + 60 : 2]
            assert np.array_equal(tile, image[:, :, :colours])
    assert (pixels[:2] == 255).all() and (pixels[42:44] == 255).all() and (pixels[:, 62:64] == 255).all()


def test_large_images_are_not_enlarged() -> None:
    assert opened(grid_png(np.zeros((1, 128, 100, 3), dtype=np.uint8), 1)).width < 110


def test_images_that_do_not_fill_the_rows_are_refused() -> None:
    images = np.zeros((6, 8, 8, 1), dtype=np.uint8)
    with pytest.raises(ValueError, match="4 rows"):
        grid_png(images, 4)
    with pytest.raises(ValueError, match="1 labels"):
        grid_png(images, 2, ["one"])
