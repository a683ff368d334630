"""The training of a feature network: on the classes of a data set or, without labels, on rotations of its images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from gan.data import HeldOut, ImageDataset, RealBatches, to_unit_range
from gan.quality.features.modules import Convolutions, Pixels, empty, fuse_batch_norm, initialise
from gan.randomness import generator

# Raise it when a change here gives another network for the same images.
VERSION: Final = 1
Progress = Callable[[float], None]
"""A callback that gets the share of the training that is done, 0..1."""

# The batch size. A small data set has batches of a quarter of its images, because learning needs a number of steps.
BATCH, SMALLEST_BATCH = 128, 16
LEARNING_RATE, WEIGHT_DECAY, WARM_UP = 3e-3, 1e-2, 0.15
# The number of images shown: at most enough for 92 % on Fashion-MNIST, five minutes on one core; in a small data set,
# each image about twenty times.
MOST_SHOWN, SHOWN_AT_LEAST, TIMES = 480_000, 500, 20
ROTATIONS: Final = 4
# Without held-out images, this share of the data set is not used for training, but to measure the accuracy.
TEST_SHARE, MAX_TEST_IMAGES = 0.1, 1_000
# Images with fewer values than this are their own features: they are too small for convolutions.
MIN_VALUES: Final = 64
# The batch size of passes without a gradient: small enough for the caches of a CPU.
ROWS: Final = 250


def no_progress(share: float) -> None:
    """Ignore the progress."""


def split(data: ImageDataset) -> tuple[ImageDataset, HeldOut]:
    """Return the images to train on, and those to measure the accuracy on: the held-out images, or a fixed tenth."""
    if data.held_out is not None and len(data.held_out) > 0:
        return data, data.held_out
    order = torch.randperm(len(data), generator=generator(0, "feature net, measured on")).to(data.images.device)
    test = order[: min(MAX_TEST_IMAGES, max(1, int(TEST_SHARE * len(data))))]
    training = order[len(test) :]
    return ImageDataset(data.info, *_subset(data, training)), HeldOut(*_subset(data, test))


def is_tiny(data: ImageDataset) -> bool:
    """Return whether the images are so small that they are their own features."""
    return data.images[0].numel() < MIN_VALUES


def fit(
    data: ImageDataset, outputs: int, most_shown: int = MOST_SHOWN, progress: Progress = no_progress
) -> Convolutions | Pixels:
    """Return a trained network for images of this size: by `nearest_means` for tiny images, else by `learn`."""
    return nearest_means(data, outputs) if is_tiny(data) else learn(data, outputs, most_shown, progress)


def learn(
    data: ImageDataset, outputs: int, most_shown: int = MOST_SHOWN, progress: Progress = no_progress
) -> Convolutions:
    """Train a network to classify the classes 0..outputs-1 of `data` or, without labels, the four rotations.

    The optimizer is AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) with one cycle of the learning rate (Smith
    and Topin 2018, arXiv:1708.07120). Images are shifted by a pixel or two. It runs on the device of `data`. An
    exception that `progress` raises ends the training.
    """
    side = max(data.info.height, data.info.width)
    network = empty(data.info.channels, side, outputs, normalise=True, device=data.images.device).train()
    initialise(network, generator(0, "feature net", device=data.images.device))
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    batch = min(BATCH, max(SMALLEST_BATCH, len(data) // 4))
    steps = -(-min(most_shown, TIMES * len(data) + SHOWN_AT_LEAST) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=WARM_UP)
    for step, (images, targets) in enumerate(_batches(data, side, batch, steps)):
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(F.cross_entropy(network(images).logits, targets))
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            progress(step / steps)
    progress(1.0)
    return fuse_batch_norm(network, data.info.channels, side)


def nearest_means(data: ImageDataset, outputs: int) -> Pixels:
    """Return the network of tiny images, with the mean of each class; without labels, with one mean of all."""
    pixels = unit_pixels(data.images).flatten(1)
    labels = pixels.new_zeros(len(data), dtype=torch.int64) if data.labels is None else data.labels
    means = torch.stack([pixels[labels == k].mean(0) for k in range(outputs)]).nan_to_num(nan=torch.inf)
    within = (pixels - means[labels]).square().mean().clamp_min(1e-6)
    return Pixels(means, within)


def accuracy(network: torch.nn.Module, test: HeldOut) -> float:
    """Return the share of images whose class (without labels: whose rotation) the network predicts correctly."""
    correct, count = 0, 0
    for start in range(0, len(test), ROWS):
        images = test.images[start : start + ROWS]
        labels = None if test.labels is None else test.labels[start : start + ROWS]
        batch, targets = inputs_and_targets(network_input(network, images), labels)
        with torch.inference_mode():
            correct += int((network(batch).logits.argmax(1) == targets).sum())
        count += len(targets)
    return correct / count


def inputs_and_targets(images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the inputs of the network and their targets.

    With labels these are the images and the labels. Without, they are each image rotated by 0, 90, 180 and 270
    degrees, and the number of the rotation (Gidaris, Singh and Komodakis 2018, arXiv:1803.07728).
    """
    if labels is not None:
        return images, labels
    rotated = torch.cat([images.rot90(quarter, (2, 3)) for quarter in range(ROTATIONS)])
    return rotated, torch.arange(ROTATIONS, device=images.device).repeat_interleave(len(images))


def network_input(network: torch.nn.Module, images: Tensor) -> Tensor:
    """Convert uint8 (N, C, H, W) to the input of `network`, in [-1, 1]: float32 squares, or float64 pixels."""
    if isinstance(network, Pixels):
        return unit_pixels(images)
    return to_unit_range(images, max(images.shape[2:]))


def unit_pixels(images: Tensor) -> Tensor:
    """Convert uint8 to float64 in [-1, 1]."""
    return images.double().div_(127.5).sub_(1.0)


def _batches(data: ImageDataset, side: int, batch: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield `steps` batches of about `batch` shifted images, with their targets."""
    reals, source = RealBatches(data, side, 0, "feature net"), generator(0, "feature net, shifts")
    each = batch if data.labels is not None else -(-batch // ROTATIONS)
    reach = max(1, round(side / 28))
    for step in range(steps):
        images, labels = reals.at(step * each, each)
        left, top = torch.randint(0, 2 * reach + 1, (2,), generator=source).tolist()
        padded = F.pad(images, (reach,) * 4, value=-1.0)
        yield inputs_and_targets(padded[:, :, top : top + side, left : left + side], labels)


def _subset(data: ImageDataset, chosen: Tensor) -> tuple[Tensor, Tensor | None]:
    return data.images[chosen], None if data.labels is None else data.labels[chosen]
