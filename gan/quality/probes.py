"""Probes: cheap measurements of G on a fixed grid of latents and of D on a few reals, without effect on training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from gan.architectures.discriminator import DiscriminatorOutput
from gan.data import HeldOut, ImageDataset, margins, to_unit_range
from gan.frozen import in_eval
from gan.randomness import generator, latents
from gan.spec import TrainSpec, image_size
from gan.spec.fields import CROSS_ENTROPY

# The grid has about so many images, with the same number of each class, between the bounds. If there are more classes
# than fit, it has some of them only.
GRID_SIZE: Final = 80
MIN_PER_CLASS, MAX_PER_CLASS = 4, 16
# The number of images of the grid without classes.
UNLABELLED_GRID_SIZE: Final = 64
# The number of reals of a class whose mean distance the fakes of the class are compared with.
REALS_PER_CLASS: Final = 64
# The numbers of training images and of held-out images that D gets.
D_BATCH: Final = 64


@dataclass(frozen=True)
class Probe:
    """The measurements at `step`, as plain values: `asdict` gives JSON."""

    step: int
    diversity: float | None
    """The mean pixel distance between two fakes of a class over that between two reals of it; 0 if all fakes are
    equal. None if no class has two different reals."""
    class_diversity: dict[str, float]
    """Class label -> the same ratio for one class; {} for an unconditional generator."""
    duplicates: float | None
    """The share of images of the grid that have a near duplicate in it: see the threshold `duplicate_distance`. None
    if most reals of a grid are equal to another."""
    conditioning_margin: float | None = None
    """The mean of D's logit for reals with their labels minus that with wrong labels; with a class head, the same of
    log P(label | image). The reals are held-out ones if there are any. None if the spec is unconditional or there is
    only one class."""
    conditioning_swing: float | None = None
    """The mean absolute value of that difference over the standard deviation of the logits; with a class head, in
    nats. 0 if D ignores the label."""
    overfitting_gap: float | None = None
    """The mean of D's output for training images minus that for held-out images; None without held-out images. With a
    cross entropy the output is D(x), 0..1. With other losses it is the logit, and the difference is divided by the
    standard deviation of the logits or by their distance from the fakes' logits, whichever is larger."""


class Prober:
    """The probes of the networks that are trained for `spec` on `data`. Their inputs depend on (spec, data, step)."""

    def __init__(self, spec: TrainSpec, data: ImageDataset, device: torch.device | str = "cpu") -> None:
        self._spec, self._data, self._device = spec, data, torch.device(device)
        self._size = image_size(spec, data.info)
        self._held_out = data.held_out if data.held_out is not None and len(data.held_out) else None
        self._class_ids = _grid_class_ids(len(data.info.classes) if spec.conditional else 0)
        self._labels = torch.tensor(self._class_ids, device=self._device) if spec.conditional else None
        g = spec.generator
        z = latents(g.z_distribution, len(self._class_ids), g.z_dim, generator(spec.seed, "probe latents"))
        self._z = z.to(self._device)
        self._real_distances, self._nearest_real = self._measure_reals()

    @torch.no_grad()
    def probe(self, G: nn.Module, D: nn.Module, step: int) -> Probe:
        """Probe `G`, the network that samples are drawn from, and `D`. Their buffers and modes do not change."""
        with in_eval(G), in_eval(D):
            fakes = G(self._z, self._labels).float()
            images, labels = self._random_batch(self._held_out or self._data, "probe reals", step)
            outputs: DiscriminatorOutput = D.outputs(images, labels)  # type: ignore[operator]
            margin, swing = self._conditioning(D, images, labels, outputs, step)
            gap = self._overfitting(D, outputs.logits.float(), fakes, step)
        distances = _distances(self._crop(fakes))
        ratios = self._ratios(distances)
        names = self._data.info.labels
        return Probe(
            step=step,
            diversity=sum(ratios.values()) / len(ratios) if ratios else None,
            class_diversity={names[k]: ratio for k, ratio in ratios.items()} if self._spec.conditional else {},
            duplicates=self._duplicates(distances),
            conditioning_margin=margin,
            conditioning_swing=swing,
            overfitting_gap=gap,
        )

    def _duplicates(self, distances: Tensor) -> float | None:
        """Return `duplicates` for the distances (N, N) between the fakes of the grid."""
        if self._nearest_real == 0.0:
            return None
        limit = self._spec.safeguards.thresholds.duplicate_distance * self._nearest_real
        return float((_nearest(distances) <= limit).float().mean())

    def _conditioning(
        self, D: nn.Module, images: Tensor, labels: Tensor | None, outputs: DiscriminatorOutput, step: int
    ) -> tuple[float, float] | tuple[None, None]:
        """Return `conditioning_margin` and `conditioning_swing` for reals (N, C, S, S) and D's outputs for them."""
        classes = len(self._data.info.classes)
        if not self._spec.conditional or labels is None or classes < 2:
            return None, None
        source = generator(self._spec.seed, "probe wrong labels", step)
        others = torch.randint(1, classes, (len(labels),), generator=source).to(self._device)
        wrong = (labels + others) % classes
        if outputs.class_logits is None:
            difference = outputs.logits.float() - D(images, wrong).float()
            spread = float(outputs.logits.float().std())
        else:
            log_p = outputs.class_logits.float().log_softmax(1)
            difference = (log_p.gather(1, labels[:, None]) - log_p.gather(1, wrong[:, None])).squeeze(1)
            spread = 1.0
        return float(difference.mean()), float(difference.abs().mean()) / max(spread, 1e-12)

    def _overfitting(self, D: nn.Module, held_out: Tensor, fakes: Tensor, step: int) -> float | None:
        """Return `overfitting_gap` for `held_out`, D's logits (N,) for held-out images, if there are any."""
        if self._held_out is None:
            return None
        train = D(*self._random_batch(self._data, "probe training images", step)).float()
        if self._spec.loss.kind in CROSS_ENTROPY:
            return float(train.sigmoid().mean() - held_out.sigmoid().mean())
        apart = (train.mean() - D(fakes, self._labels).float().mean()).abs()
        spread = torch.cat([train, held_out]).std()
        return float((train.mean() - held_out.mean()) / torch.maximum(apart, spread).clamp_min(1e-12))

    def _random_batch(self, images: ImageDataset | HeldOut, purpose: str, step: int) -> tuple[Tensor, Tensor | None]:
        """Return images (64, C, S, S) in [-1, 1] and labels. Every step has others, so that errors average out."""
        chosen = torch.randint(len(images), (D_BATCH,), generator=generator(self._spec.seed, purpose, step))
        labels = None if images.labels is None else images.labels[chosen].to(self._device)
        return to_unit_range(images.images[chosen].to(self._device), self._size), labels

    def _measure_reals(self) -> tuple[dict[int, float], float]:
        """Return distances between reals.

        The first result is the mean distance within each class of the grid, by class id; the second is the median
        distance to the nearest neighbour in a grid of reals.
        """
        source, within, grid = generator(self._spec.seed, "probe grid of reals"), {}, []
        for class_id in dict.fromkeys(self._class_ids):
            reals = self._reals_of_class(class_id, source)
            within[class_id] = _mean_distance(_distances(reals))
            grid.append(reals[: self._class_ids.count(class_id)])
        return within, float(_nearest(_distances(torch.cat(grid))).median())

    def _reals_of_class(self, class_id: int, source: torch.Generator) -> Tensor:
        """Return at most 64 reals of a class; of all images if the spec is unconditional."""
        labels = self._data.labels
        members = torch.arange(len(self._data))
        if self._spec.conditional and labels is not None:
            members = members[labels.cpu() == class_id]
        chosen = members[torch.randperm(len(members), generator=source)[:REALS_PER_CLASS]]
        images = to_unit_range(self._data.images[chosen.to(self._data.images.device)], self._size)
        return self._crop(images)

    def _crop(self, images: Tensor) -> Tensor:
        """Return the images without their padding, (N, C, H, W)."""
        height, width = self._data.info.height, self._data.info.width
        left, _, top, _ = margins(height, width, self._size)
        return images[:, :, top : top + height, left : left + width]

    def _ratios(self, distances: Tensor) -> dict[int, float]:
        """Return, by class id, the mean distance between fakes over that between reals; only if the reals differ."""
        ids = torch.tensor(self._class_ids)
        parts = {k: distances[ids == k][:, ids == k] for k, real in self._real_distances.items() if real > 0.0}
        return {k: _mean_distance(part) / self._real_distances[k] for k, part in parts.items()}


def _grid_class_ids(classes: int) -> list[int]:
    """Return the class id of each image of the grid, in order of class; without classes, all are 0."""
    if not classes:
        return [0] * UNLABELLED_GRID_SIZE
    each = min(MAX_PER_CLASS, max(MIN_PER_CLASS, GRID_SIZE // classes))
    shown = min(classes, GRID_SIZE // MIN_PER_CLASS)
    return [i * classes // shown for i in range(shown) for _ in range(each)]


def _distances(images: Tensor) -> Tensor:
    """Return the root mean square differences (N, N) of images (N, C, H, W), on the CPU."""
    points = images.flatten(1).float().cpu()
    # Without a matrix product, whose rounding error would give two equal images a distance above 0.
    distances = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    return distances / float(points.shape[1] ** 0.5)


def _mean_distance(distances: Tensor) -> float:
    """Return the mean of distances (N, N) over pairs of two different images; 0 for fewer than two images."""
    n = len(distances)
    return float(distances.sum()) / (n * (n - 1)) if n > 1 else 0.0


def _nearest(distances: Tensor) -> Tensor:
    """Return each image's distance to its nearest other image, (N,); infinity if there is none."""
    return distances.clone().fill_diagonal_(torch.inf).amin(1)
