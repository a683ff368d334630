"""What any set of images is worth beside the real ones: every figure of an evaluation, from pixels alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from gan.data import HeldOut, ImageDataset
from gan.quality.distances import (
    Manifold,
    frechet,
    kernel_distance,
    kernel_within,
    manifold,
    overlap,
)
from gan.quality.features import FeatureNet
from gan.randomness import generator

# Precision, recall, density and coverage compare every image with every other: of more, a part is taken.
MOST_COMPARED: Final = 5_000
# Reals to a fake, as far as there are so many: the more, the finer the balls around them, and the sooner it shows
# that a generator repeats itself. 500 images that are drawn again and again cover 0.4 of 5,000 reals, 0.7 of 2,000.
REALS_TO_A_FAKE: Final = 2.5
# Images of a class whose distances to each other are taken; of images without classes, of all.
PAIRED: Final = 128
# Images whose nearest training image is looked for, and training images looked through at a time.
SOUGHT, LOOKED_THROUGH = 1_000, 5_000


@dataclass(frozen=True)
class Scores:
    """Plain values."""

    metrics: dict[str, float]
    """fcd, kcd, precision, recall, density, coverage. diversity: the mean of `within_class_diversity`; without
    classes, of all images together. Where classes are known: classifier_score; of images with labels:
    label_accuracy."""
    class_histogram: dict[str, float]
    """Class label -> share of the images that the classifier gives to it; {} where it knows no classes."""
    within_class_diversity: dict[str, float]
    """Class label -> mean pixel distance between images of it over that between reals of it; 0: all the same. Of
    images without labels the class is what the classifier says. Absent: a class of fewer than two images."""
    label_accuracy_by_class: dict[str, float]
    """Class label -> share of its images that the classifier gives to it; {} of images without labels."""
    images_compared: int
    reals_compared: int
    """How many of either all figures but the Fréchet distance rest on."""
    neighbours: int
    """k, as it was used."""


class RealStatistics:
    """Real images that others are compared with, in a fixed random order, as `features` sees them."""

    def __init__(self, real: HeldOut, labels: tuple[str, ...], features: FeatureNet, neighbours: int) -> None:
        """labels: the names of the classes, in order of id."""
        seen = features.see(real.images)
        self.images, self.features, self.net = real.images, seen.features, features
        self.labels = labels if features.tells_classes else ()
        self.class_ids = None if real.labels is None else real.labels.cpu()
        self.predicted = seen.logits.argmax(1)
        self._neighbours = neighbours
        # Kept, as every evaluation asks for the same.
        self.balls, self.kernel = cache(self._balls), cache(self._kernel)

    def _balls(self, count: int) -> Manifold:
        """Around the first `count` of them."""
        return manifold(self.features[:count], self._neighbours)

    def _kernel(self, count: int) -> float:
        """`kernel_within` the first `count` of them."""
        return kernel_within(self.features[:count])

    @property
    def class_histogram(self) -> dict[str, float]:
        """Class label -> share of the reals that the classifier gives to it: what the fakes' is compared with."""
        return histogram(self.predicted, self.labels)


def some(data: ImageDataset | HeldOut, most: int, purpose: str) -> HeldOut:
    """At most `most` images in a random order that is the purpose's own."""
    order = torch.randperm(len(data), generator=generator(0, purpose))[:most].to(data.images.device)
    return HeldOut(data.images[order], None if data.labels is None else data.labels[order])


def reals_for(images: int, at_hand: int) -> int:
    """With how many reals so many images are compared: coverage and recall depend on both numbers."""
    return max(2, min(MOST_COMPARED, at_hand, round(REALS_TO_A_FAKE * images)))


def score(images: Tensor, class_ids: Tensor | None, reals: RealStatistics, against: int | None = None) -> Scores:
    """Every figure of uint8 images (M, C, H, W), M >= 2, that were asked to be of `class_ids` (M,), or of none.

    against: with how many of `reals` they are compared; `reals_for` so many, if not said. The Fréchet distance is of
    all images to all training images.
    """
    seen = reals.net.see(images)
    chosen = torch.randperm(len(images), generator=generator(0, "compared"))[:MOST_COMPARED]
    compared = seen.features[chosen]
    real = reals.balls(reals_for(len(chosen), len(reals.images)) if against is None else against)
    found, each = overlap(real, manifold(compared, real.k)), min(len(compared), len(real.points))
    metrics = {
        "fcd": frechet(reals.net.real, seen.features),
        "kcd": kernel_distance(real.points[:each], compared[:each], reals.kernel(each)),
        "precision": found.precision,
        "recall": found.recall,
        "density": found.density,
        "coverage": found.coverage,
    }
    predicted, asked = seen.logits.argmax(1), None
    if reals.labels:
        metrics["classifier_score"] = classifier_score(seen.logits)
        if class_ids is not None:
            asked = class_ids.cpu()
            metrics["label_accuracy"] = float((predicted == asked).double().mean())
    ratios = _diversity(images, asked, predicted, reals)
    metrics["diversity"] = sum(ratios.values()) / max(1, len(ratios))
    return Scores(
        metrics=metrics,
        class_histogram=histogram(predicted, reals.labels),
        within_class_diversity=ratios if reals.labels else {},
        label_accuracy_by_class={} if asked is None else _accuracies(predicted, asked, reals.labels),
        images_compared=len(compared),
        reals_compared=len(real.points),
        neighbours=real.k,
    )


def classifier_score(logits: Tensor) -> float:
    """exp E KL(p(y|x) || p(y)) with the data set's own classifier: the Inception score (Salimans et al. 2016,
    arXiv:1606.03498, section 4) without Inception. 1: all images look like one class; K: each class, for sure."""
    log_p = F.log_softmax(logits.double(), 1)
    marginal = log_p.exp().mean(0).log()
    return float((log_p.exp() * (log_p - marginal)).nansum(1).mean().exp())


def histogram(class_ids: Tensor, labels: tuple[str, ...]) -> dict[str, float]:
    """Class label -> share of `class_ids` (N,) that are it."""
    if not labels:
        return {}
    shares = torch.bincount(class_ids, minlength=len(labels)).double() / len(class_ids)
    return dict(zip(labels, shares.tolist(), strict=True))


def nearest_training_ratio(images: Tensor, data: ImageDataset) -> float:
    """How near uint8 images (M, C, H, W) come to their nearest training image, beside how near held-out reals do.

    A ratio of two median pixel distances: about 1 for new images, 0 for copies. Without held-out images, training
    images stand in for them, each beside the nearest other one. Slow: every pixel of every training image is read.
    """
    new = some(HeldOut(images, None), SOUGHT, "sought")
    held_out = data.held_out
    real = some(data if held_out is None else held_out, SOUGHT, "sought")
    found = _nearest_two(new.images, data.images)[:, 0].median()
    usual = _nearest_two(real.images, data.images)[:, 0 if held_out is not None else 1].median()
    return float(found / usual.clamp_min(1e-9))


def _nearest_two(images: Tensor, among: Tensor) -> Tensor:
    """Distances (M, 2) of each image to the nearest two of `among`, in units of the whole range of a pixel."""
    points = _flat(images)
    best = points.new_full((len(points), 2), torch.inf)
    for part in torch.split(among, LOOKED_THROUGH):
        distances = torch.cdist(points, _flat(part.to(points.device)))
        nearest = torch.cat([best, distances], 1).topk(2, largest=False)
        best = nearest.values
    return best


def _diversity(images: Tensor, asked: Tensor | None, predicted: Tensor, reals: RealStatistics) -> dict[str, float]:
    """Class label (without classes: "") -> mean distance within the images over that within the reals."""
    if not reals.labels:
        ratio = _ratio(_spread(images), _spread(reals.images))
        return {} if ratio is None else {"": ratio}
    of_fakes, of_reals = (predicted, reals.predicted) if asked is None else (asked, reals.class_ids)
    assert of_reals is not None
    ratios = {
        label: _ratio(_spread(images, of_fakes == k), _spread(reals.images, of_reals == k))
        for k, label in enumerate(reals.labels)
    }
    return {label: ratio for label, ratio in ratios.items() if ratio is not None}


def _spread(images: Tensor, members: Tensor | None = None) -> float | None:
    """The mean pixel distance between two of the first images that are `members`; None of fewer than two."""
    if members is not None:
        images = images[members.nonzero()[:PAIRED, 0].to(images.device)]
    images = images[:PAIRED]
    return None if len(images) < 2 else float(torch.pdist(_flat(images)).mean())


def _ratio(fakes: float | None, reals: float | None) -> float | None:
    return None if fakes is None or not reals else fakes / reals


def _accuracies(predicted: Tensor, asked: Tensor, labels: tuple[str, ...]) -> dict[str, float]:
    right = predicted == asked
    return {label: float(right[asked == k].double().mean()) for k, label in enumerate(labels) if (asked == k).any()}


def _flat(images: Tensor) -> Tensor:
    """uint8 (N, C, H, W) -> float32 (N, C * H * W) in [0, 1]."""
    return images.flatten(1).float().div_(255.0)
