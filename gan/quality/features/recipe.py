"""How a feature network learns: the classes of the data set or, of images without labels, how they were turned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from gan.data import HeldOut, ImageDataset, RealBatches, to_unit_range
from gan.quality.features.network import Convolutions, Pixels, empty, fused, initialise
from gan.randomness import generator

# To be raised whenever what is written here would make another network of the same images.
VERSION: Final = 1
Progress = Callable[[float], None]

# Images in a batch: of a small data set a quarter of it, as it is the number of steps that a network learns by.
BATCH, SMALLEST_BATCH = 128, 16
LEARNING_RATE, WEIGHT_DECAY, WARM_UP = 3e-3, 1e-2, 0.15
# Images shown: enough for 92 % on Fashion-MNIST, five minutes on one core; of a few images, each about twenty times.
MOST_SHOWN, SHOWN_AT_LEAST, TIMES = 480_000, 500, 20
ROTATIONS: Final = 4
# Of a data set without held-out images this share is not learned from, to measure the accuracy on.
MEASURED_SHARE, MEASURED_AT_MOST = 0.1, 1_000
# Images of fewer values than this are their own features: nothing is left for a convolution to find.
FEWEST_VALUES: Final = 64
# Rows of a forward pass without gradient: as many as stay in the caches of a CPU.
ROWS: Final = 250


def untold(share: float) -> None:
    """A progress that nobody follows."""


def parts(data: ImageDataset) -> tuple[ImageDataset, HeldOut]:
    """What to learn from, and what to measure the accuracy on: the held-out images, else a fixed tenth."""
    if data.held_out is not None and len(data.held_out) > 0:
        return data, data.held_out
    order = torch.randperm(len(data), generator=generator(0, "feature net, measured on")).to(data.images.device)
    measured = order[: min(MEASURED_AT_MOST, max(1, int(MEASURED_SHARE * len(data))))]
    learned = order[len(measured) :]
    return ImageDataset(data.info, *_some(data, learned)), HeldOut(*_some(data, measured))


def tiny(data: ImageDataset) -> bool:
    """Whether the images are their own features."""
    return data.images[0].numel() < FEWEST_VALUES


def fit(
    data: ImageDataset, outputs: int, most_shown: int = MOST_SHOWN, progress: Progress = untold
) -> Convolutions | Pixels:
    """The network for images of this size: `nearest_means` of tiny ones, else `learn`."""
    return nearest_means(data, outputs) if tiny(data) else learn(data, outputs, most_shown, progress)


def learn(
    data: ImageDataset, outputs: int, most_shown: int = MOST_SHOWN, progress: Progress = untold
) -> Convolutions:
    """A network that tells the classes 0..outputs-1 of `data` or, where it has no labels, the four rotations.

    AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) on one cycle of the learning rate (Smith and Topin 2018,
    arXiv:1708.07120); images are shifted by a pixel or two. `progress` is told the share that is done, 0..1; what it
    raises ends the learning. On the device of `data`.
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
    return fused(network, data.info.channels, side)


def nearest_means(data: ImageDataset, outputs: int) -> Pixels:
    """The pixels as they are, and the mean of each class; of images without labels, of all (one output)."""
    pixels = unit_pixels(data.images).flatten(1)
    labels = pixels.new_zeros(len(data), dtype=torch.int64) if data.labels is None else data.labels
    means = torch.stack([pixels[labels == k].mean(0) for k in range(outputs)]).nan_to_num(nan=torch.inf)
    within = (pixels - means[labels]).square().mean().clamp_min(1e-6)
    return Pixels(means, within)


def accuracy(network: torch.nn.Module, measured: HeldOut) -> float:
    """The share of held-out images whose class (of images without labels: whose rotation) the network tells."""
    right, count = 0, 0
    for start in range(0, len(measured), ROWS):
        images = measured.images[start : start + ROWS]
        labels = None if measured.labels is None else measured.labels[start : start + ROWS]
        batch, targets = task(seen_as(network, images), labels)
        with torch.inference_mode():
            right += int((network(batch).logits.argmax(1) == targets).sum())
        count += len(targets)
    return right / count


def task(images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """What to show and what to answer: the labels, or each image four times, turned by 0, 90, 180 and 270 degrees
    (Gidaris, Singh and Komodakis 2018, arXiv:1803.07728)."""
    if labels is not None:
        return images, labels
    turned = torch.cat([images.rot90(quarter, (2, 3)) for quarter in range(ROTATIONS)])
    return turned, torch.arange(ROTATIONS, device=images.device).repeat_interleave(len(images))


def seen_as(network: torch.nn.Module, images: Tensor) -> Tensor:
    """uint8 (N, C, H, W) as `network` takes them: squares of float32, or plain pixels of float64, in [-1, 1]."""
    if isinstance(network, Pixels):
        return unit_pixels(images)
    return to_unit_range(images, max(images.shape[2:]))


def unit_pixels(images: Tensor) -> Tensor:
    """uint8 -> float64 in [-1, 1]."""
    return images.double().div_(127.5).sub_(1.0)


def _batches(data: ImageDataset, side: int, batch: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """`steps` batches of about `batch` images that are shifted, and what to answer."""
    reals, source = RealBatches(data, side, 0, "feature net"), generator(0, "feature net, shifts")
    each = batch if data.labels is not None else -(-batch // ROTATIONS)
    reach = max(1, round(side / 28))
    for step in range(steps):
        images, labels = reals.at(step * each, each)
        left, top = torch.randint(0, 2 * reach + 1, (2,), generator=source).tolist()
        padded = F.pad(images, (reach,) * 4, value=-1.0)
        yield task(padded[:, :, top : top + side, left : left + side], labels)


def _some(data: ImageDataset, chosen: Tensor) -> tuple[Tensor, Tensor | None]:
    return data.images[chosen], None if data.labels is None else data.labels[chosen]
