"""A glance at what G draws and what D makes of it: a fixed grid, a few reals, no effect on training."""

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

# Images of the grid: of each class as many as fit, between the bounds; of more classes than fit, some.
GRID: Final = 80
LEAST_OF_A_CLASS, MOST_OF_A_CLASS = 4, 16
# Images of the grid without classes.
UNLABELLED: Final = 64
# Reals of a class whose mean distance is what a class of fakes is compared with.
REALS_OF_A_CLASS: Final = 64
# Training images, and held-out ones, that D is asked about.
JUDGED: Final = 64


@dataclass(frozen=True)
class Probe:
    """What was seen at `step`. Plain values: `asdict` makes JSON of it."""

    step: int
    diversity: float | None
    """Mean pixel distance between two fakes of a class, over that between two reals of it; 0: all are the same.
    None: no class has two reals that differ."""
    class_diversity: dict[str, float]
    """Class label -> the same of that class alone; {} of an unconditional generator."""
    duplicates: float
    """Share of the grid that has a near duplicate in it: see `duplicate_distance` in the thresholds."""
    conditioning_margin: float | None = None
    """Mean of D's logit for reals with their labels less that with wrong ones; of a class head, of its log P(label |
    image) likewise. Held-out reals where there are some. None: not conditional, or one class."""
    conditioning_swing: float | None = None
    """Mean size of that difference, over the deviation of the logits (of a class head: in nats). 0: D is deaf."""
    overfitting_gap: float | None = None
    """D's mean opinion of training images less that of held-out ones; None: nothing is held out. Cross entropy: of
    D(x) in 0..1. Others: of logits, over their deviation or their distance from the fakes', whichever is larger."""


class Prober:
    """Looks at the networks of `spec`'s game on `data`; what it shows them is a function of (spec, data, step)."""

    def __init__(self, spec: TrainSpec, data: ImageDataset, device: torch.device | str = "cpu") -> None:
        self._spec, self._data, self._device = spec, data, torch.device(device)
        self._size = image_size(spec, data.info)
        self._unseen = data.held_out if data.held_out is not None and len(data.held_out) else None
        self._class_ids = _grid(len(data.info.classes) if spec.conditional else 0)
        self._labels = torch.tensor(self._class_ids, device=self._device) if spec.conditional else None
        g = spec.generator
        z = latents(g.z_distribution, len(self._class_ids), g.z_dim, generator(spec.seed, "probe latents"))
        self._z = z.to(self._device)
        reals, nearest = self._measure_reals()
        self._of_reals = reals
        self._near = spec.safeguards.thresholds.duplicate_distance * nearest

    @torch.no_grad()
    def probe(self, G: nn.Module, D: nn.Module, step: int) -> Probe:
        """Ask `G`, the network that samples are drawn from, and `D`. Both are left as they were, buffers and mode."""
        with in_eval(G), in_eval(D):
            fakes = G(self._z, self._labels).float()
            images, labels = self._some(self._unseen or self._data, "probe reals", step)
            said: DiscriminatorOutput = D.judge(images, labels)  # type: ignore[operator]
            margin, swing = self._conditioning(D, images, labels, said, step)
            gap = self._overfitting(D, said.logits.float(), fakes, step)
        distances = _distances(self._cropped(fakes))
        ratios = self._ratios(distances)
        names = self._data.info.labels
        return Probe(
            step=step,
            diversity=sum(ratios.values()) / len(ratios) if ratios else None,
            class_diversity={names[k]: ratio for k, ratio in ratios.items()} if self._spec.conditional else {},
            duplicates=float((_nearest(distances) <= self._near).float().mean()),
            conditioning_margin=margin,
            conditioning_swing=swing,
            overfitting_gap=gap,
        )

    def _conditioning(
        self, D: nn.Module, images: Tensor, labels: Tensor | None, said: DiscriminatorOutput, step: int
    ) -> tuple[float, float] | tuple[None, None]:
        classes = len(self._data.info.classes)
        if not self._spec.conditional or labels is None or classes < 2:
            return None, None
        source = generator(self._spec.seed, "probe wrong labels", step)
        others = torch.randint(1, classes, (len(labels),), generator=source).to(self._device)
        wrong = (labels + others) % classes
        if said.class_logits is None:
            difference = said.logits.float() - D(images, wrong).float()
            spread = float(said.logits.float().std())
        else:
            shares = said.class_logits.float().log_softmax(1)
            difference = (shares.gather(1, labels[:, None]) - shares.gather(1, wrong[:, None])).squeeze(1)
            spread = 1.0
        return float(difference.mean()), float(difference.abs().mean()) / max(spread, 1e-12)

    def _overfitting(self, D: nn.Module, unseen: Tensor, fakes: Tensor, step: int) -> float | None:
        """unseen: D's logits (N,) for held-out images, if they are that."""
        if self._unseen is None:
            return None
        train = D(*self._some(self._data, "probe training images", step)).float()
        if self._spec.loss.kind in CROSS_ENTROPY:
            return float(train.sigmoid().mean() - unseen.sigmoid().mean())
        apart = (train.mean() - D(fakes, self._labels).float().mean()).abs()
        spread = torch.cat([train, unseen]).std()
        return float((train.mean() - unseen.mean()) / torch.maximum(apart, spread).clamp_min(1e-12))

    def _some(self, images: ImageDataset | HeldOut, purpose: str, step: int) -> tuple[Tensor, Tensor | None]:
        """Images (64, C, S, S) as D sees them, and labels; others at every step, so that chance averages out."""
        chosen = torch.randint(len(images), (JUDGED,), generator=generator(self._spec.seed, purpose, step))
        labels = None if images.labels is None else images.labels[chosen].to(self._device)
        return to_unit_range(images.images[chosen].to(self._device), self._size), labels

    def _measure_reals(self) -> tuple[dict[int, float], float]:
        """Of reals: the mean distance within each class of the grid, and the median distance to the nearest there."""
        source, within, grid = generator(self._spec.seed, "probe grid of reals"), {}, []
        for class_id in dict.fromkeys(self._class_ids):
            reals = self._reals_of(class_id, source)
            within[class_id] = _mean_distance(_distances(reals))
            grid.append(reals[: self._class_ids.count(class_id)])
        return within, float(_nearest(_distances(torch.cat(grid))).median())

    def _reals_of(self, class_id: int, source: torch.Generator) -> Tensor:
        """At most 64 reals of a class, of all where there are no classes."""
        labels = self._data.labels
        members = torch.arange(len(self._data))
        if self._spec.conditional and labels is not None:
            members = members[labels.cpu() == class_id]
        chosen = members[torch.randperm(len(members), generator=source)[:REALS_OF_A_CLASS]]
        images = to_unit_range(self._data.images[chosen.to(self._data.images.device)], self._size)
        return self._cropped(images)

    def _cropped(self, images: Tensor) -> Tensor:
        """Without the padding."""
        height, width = self._data.info.height, self._data.info.width
        left, _, top, _ = margins(height, width, self._size)
        return images[:, :, top : top + height, left : left + width]

    def _ratios(self, distances: Tensor) -> dict[int, float]:
        """Class id -> mean distance within the fakes of it over the reals'; none where the reals do not differ."""
        ids = torch.tensor(self._class_ids)
        parts = {k: distances[ids == k][:, ids == k] for k, of_reals in self._of_reals.items() if of_reals > 0.0}
        return {k: _mean_distance(part) / self._of_reals[k] for k, part in parts.items()}


def _grid(classes: int) -> list[int]:
    """The class id of each image of the grid, class after class; without classes, one that means nothing."""
    if not classes:
        return [0] * UNLABELLED
    each = min(MOST_OF_A_CLASS, max(LEAST_OF_A_CLASS, GRID // classes))
    shown = min(classes, GRID // LEAST_OF_A_CLASS)
    return [i * classes // shown for i in range(shown) for _ in range(each)]


def _distances(images: Tensor) -> Tensor:
    """Root mean square differences (N, N), on the CPU, of images (N, C, H, W)."""
    points = images.flatten(1).float().cpu()
    # Differences, not products: two equal images are at 0 and not at the rounding error of a matrix product.
    between = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    return between / float(points.shape[1] ** 0.5)


def _mean_distance(distances: Tensor) -> float:
    """Between two different ones of them; 0 of fewer than two."""
    n = len(distances)
    return float(distances.sum()) / (n * (n - 1)) if n > 1 else 0.0


def _nearest(distances: Tensor) -> Tensor:
    """Of each (N,), the distance to the nearest other; infinity where there is none."""
    return distances.clone().fill_diagonal_(torch.inf).amin(1)
