"""The quality metrics of a set of images compared with real images. The metrics depend on pixels alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
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

# Precision, recall, density and coverage compare every image with every other, so that they use at most so many.
MAX_COMPARED: Final = 5_000
# The number of reals per fake, if there are so many. With more reals the balls around them are smaller, and repeated
# images are noticed earlier: a generator that repeats 500 images covers 0.4 of 5,000 reals, and 0.7 of 2,000.
REALS_PER_FAKE: Final = 2.5
# The number of images of one class (without classes, of all images) whose distances to each other are computed.
MAX_PAIRED: Final = 128


@dataclass(frozen=True)
class Scores:
    """The metrics of a set of images, as plain values."""

    metrics: dict[str, float]
    """By name, as declared in `gan.spec.metrics`: fcd, kcd, precision, recall, density, coverage and diversity;
    classifier_score if the data set has classes; label_accuracy if the images were drawn for given classes. A metric
    that cannot be computed is absent: precision, recall, density and coverage if most reals are equal to others, and
    diversity if no class has two different reals."""
    class_histogram: dict[str, float]
    """Class label -> the share of images that the classifier assigns to it; {} for a data set without classes."""
    within_class_diversity: dict[str, float]
    """Class label -> the mean pixel distance between images of the class over that between its reals; 0 if all images
    are equal. The classifier decides the class of images without labels. Classes with fewer than two images are
    absent."""
    label_accuracy_by_class: dict[str, float]
    """Class label -> the share of its images that the classifier assigns to it; {} for images without labels."""
    images_compared: int
    """The number of images from which all metrics except the Fréchet distance were computed."""
    reals_compared: int
    """The number of reals that they were compared with."""
    neighbours: int
    """The k that was used."""


class RealStatistics:
    """Real images to compare others with, in a fixed random order, and their features."""

    def __init__(self, real: HeldOut, labels: tuple[str, ...], features: FeatureNet, neighbours: int) -> None:
        """Compute the features of `real`. `labels` are the names of the classes, in order of id."""
        outputs = features.outputs(real.images)
        self.images, self.features, self.net = real.images, outputs.features, features
        self.labels = labels if features.predicts_classes else ()
        self.class_ids = None if real.labels is None else real.labels.cpu()
        self.predicted = outputs.logits.argmax(1)
        self._neighbours = neighbours
        # Every evaluation of a run needs the same ones.
        self.balls, self.kernel = cache(self._balls), cache(self._kernel)

    def _balls(self, count: int) -> Manifold:
        """Return the balls around the first `count` reals."""
        return manifold(self.features[:count], self._neighbours)

    def _kernel(self, count: int) -> float:
        """Return `kernel_within` of the first `count` reals."""
        return kernel_within(self.features[:count])

    def recognised(self, images: Tensor, class_ids: Tensor) -> dict[str, float]:
        """Return, for each class label, how well the classifier recognises the class, 0..1, on reals (N, C, H, W).

        It is the F1 score, 2 TP / (2 TP + FP + FN). Two classes with the same images have at most 2/3 each, however
        the classifier divides the images between them. Classes without images are absent; {} without classes.
        """
        if not self.labels:
            return {}
        predicted, own = self.net.outputs(images).logits.argmax(1), class_ids.cpu()
        counts = {label: (own == k, predicted == k) for k, label in enumerate(self.labels) if (own == k).any()}
        return {
            label: 2.0 * float((members & found).sum()) / float(members.sum() + found.sum())
            for label, (members, found) in counts.items()
        }

    @property
    def class_histogram(self) -> dict[str, float]:
        """Class label -> the share of reals that the classifier assigns to it."""
        return histogram(self.predicted, self.labels)


def random_subset(data: ImageDataset | HeldOut, max_count: int, purpose: str) -> HeldOut:
    """Return at most `max_count` images in a random order, which depends on `purpose` alone."""
    order = torch.randperm(len(data), generator=generator(0, purpose))[:max_count].to(data.images.device)
    return HeldOut(data.images[order], None if data.labels is None else data.labels[order])


def num_reals_for(images: int, available: int) -> int:
    """Return with how many reals to compare `images` images. Coverage and recall depend on both numbers."""
    return max(2, min(MAX_COMPARED, available, round(REALS_PER_FAKE * images)))


def score(images: Tensor, class_ids: Tensor | None, reals: RealStatistics, num_reals: int | None = None) -> Scores:
    """Return all metrics of uint8 images (M, C, H, W), with M >= 2.

    `class_ids` (M,) are the classes that the images were drawn for, if any. The images are compared with the first
    `num_reals` of `reals`, by default with `num_reals_for` so many. The Fréchet distance is that of all images to all
    training images.
    """
    outputs = reals.net.outputs(images)
    chosen = torch.randperm(len(images), generator=generator(0, "compared"))[:MAX_COMPARED]
    compared = outputs.features[chosen]
    real = reals.balls(num_reals_for(len(chosen), len(reals.images)) if num_reals is None else num_reals)
    found, each = overlap(real, manifold(compared, real.k)), min(len(compared), len(real.points))
    metrics = {
        "fcd": frechet(reals.net.real, outputs.features),
        "kcd": kernel_distance(real.points[:each], compared[:each], reals.kernel(each)),
    }
    # A ball of radius 0 holds copies only, so that nothing can be near such a real.
    if float(real.radii.median()) > 0.0:
        metrics |= asdict(found)
    predicted, asked = outputs.logits.argmax(1), None
    if reals.labels:
        metrics["classifier_score"] = classifier_score(outputs.logits)
        if class_ids is not None:
            asked = class_ids.cpu()
            metrics["label_accuracy"] = float((predicted == asked).double().mean())
    ratios = _diversity(images, asked, predicted, reals)
    if ratios:
        metrics["diversity"] = sum(ratios.values()) / len(ratios)
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
    """Return exp E KL(p(y|x) || p(y)): the Inception score, with the data set's own classifier instead of Inception.

    Salimans et al. 2016, arXiv:1606.03498, section 4. It is 1 if the classifier gives every image the same class, and
    K if it is certain about every image and all K classes are equally frequent.
    """
    log_p = F.log_softmax(logits.double(), 1)
    marginal = log_p.exp().mean(0).log()
    return float((log_p.exp() * (log_p - marginal)).nansum(1).mean().exp())


def histogram(class_ids: Tensor, labels: tuple[str, ...]) -> dict[str, float]:
    """Return, for each class label, its share of `class_ids` (N,); {} without labels."""
    if not labels:
        return {}
    shares = torch.bincount(class_ids, minlength=len(labels)).double() / len(class_ids)
    return dict(zip(labels, shares.tolist(), strict=True))


def _diversity(images: Tensor, asked: Tensor | None, predicted: Tensor, reals: RealStatistics) -> dict[str, float]:
    """Return, for each class label, the mean distance between its images over that between its reals.

    Without classes, the only key is "".
    """
    if not reals.labels:
        ratio = _ratio(_mean_distance(images), _mean_distance(reals.images))
        return {} if ratio is None else {"": ratio}
    fake_ids, real_ids = (predicted, reals.predicted) if asked is None else (asked, reals.class_ids)
    assert real_ids is not None
    ratios = {
        label: _ratio(_mean_distance(images, fake_ids == k), _mean_distance(reals.images, real_ids == k))
        for k, label in enumerate(reals.labels)
    }
    return {label: ratio for label, ratio in ratios.items() if ratio is not None}


def _mean_distance(images: Tensor, members: Tensor | None = None) -> float | None:
    """Return the mean pixel distance between two of the first images where the mask `members` (N,) is true.

    Return None for fewer than two such images.
    """
    if members is not None:
        images = images[members.nonzero()[:MAX_PAIRED, 0].to(images.device)]
    images = images[:MAX_PAIRED]
    return None if len(images) < 2 else float(torch.pdist(_flat(images)).mean())


def _ratio(fakes: float | None, reals: float | None) -> float | None:
    return None if fakes is None or not reals else fakes / reals


def _accuracies(predicted: Tensor, asked: Tensor, labels: tuple[str, ...]) -> dict[str, float]:
    correct = predicted == asked
    return {label: float(correct[asked == k].double().mean()) for k, label in enumerate(labels) if (asked == k).any()}


def _flat(images: Tensor) -> Tensor:
    """Convert uint8 (N, C, H, W) to float32 (N, C * H * W) in [0, 1]."""
    return images.flatten(1).float().div_(255.0)
