"""Evaluations of a generator while it trains: always from the same latents, compared with the same real images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

import torch
from torch import Tensor

from gan.data import HeldOut, ImageDataset
from gan.frozen import in_eval
from gan.quality.features import FeatureNet, recipe
from gan.quality.scores import MAX_COMPARED, RealStatistics, Scores, num_reals_for, random_subset, score
from gan.randomness import generator
from gan.sample import TrainedGenerator
from gan.spec import TrainSpec

# The number of images that are drawn at once: 500 of 128 x 128 in colour are 100 MB in float32.
MAX_DRAWN_AT_ONCE: Final = 512
# The number of fakes that a classifier is trained on, and how many it sees in all: half a minute on one core.
FAKES_TO_TRAIN_ON, FAKES_SHOWN = 10_000, 100_000
# A reference needs so many images, and so many reals to compare them with for each neighbour of the balls.
_MIN_REFERENCE_IMAGES: Final = 20
_MIN_REALS_PER_NEIGHBOUR: Final = 3


@dataclass(frozen=True)
class EvaluationResult:
    """The result of one evaluation, as plain values: `asdict` gives JSON, `EvaluationResult(**...)` reads it."""

    step: int
    images_seen: int
    metrics: dict[str, float]
    """These and the tables of classes are those of `gan.quality.scores.Scores`."""
    class_histogram: dict[str, float]
    real_class_histogram: dict[str, float]
    """The class histogram of the real images that the fakes are compared with."""
    within_class_diversity: dict[str, float]
    label_accuracy_by_class: dict[str, float]
    reference: dict[str, float] = field(default_factory=dict)
    """The same metrics for real images that nothing was trained on: those of a perfect generator. If there are too
    few of these images, only label_accuracy."""
    recognised: dict[str, float] = field(default_factory=dict)
    """Class label -> how well the classifier recognises the class in these images: `RealStatistics.recognised`."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """What the metrics depend on: feature network, counts, split, k, weights, seed, versions."""


class Evaluator:
    """The evaluation of the generators of one run, with fixed seeds, fixed reals, and the class shares of the data.

    It has random streams of its own, and does not change the mode of a network.
    """

    def __init__(
        self, spec: TrainSpec, data: ImageDataset, features: FeatureNet, device: torch.device | str = "cpu"
    ) -> None:
        self._spec, self._data = spec, data
        self._net = features.to(device)
        settings = spec.evaluation
        reals = random_subset(data, num_reals_for(settings.images, len(data)), "reals to compare with")
        self._reals = RealStatistics(reals, data.info.labels, self._net, settings.neighbours)
        source = generator(spec.seed, "evaluation")
        self._seeds = torch.randint(2**62, (settings.images,), generator=source).tolist()
        self._class_ids = proportional_classes(data, settings.images, source) if spec.conditional else None

    def evaluate(
        self, trained: TrainedGenerator, step: int, images_seen: int, weights: Literal["ema", "raw"]
    ) -> EvaluationResult:
        """Draw images from `trained`, with the weights of G_ema ("ema") or of G ("raw"), and return their metrics."""
        images = draw(trained, self._class_ids, self._seeds)
        scores = score(images, self._class_ids, self._reals)
        return EvaluationResult(
            step=step,
            images_seen=images_seen,
            metrics=scores.metrics,
            class_histogram=scores.class_histogram,
            real_class_histogram=self._reals.class_histogram,
            within_class_diversity=scores.within_class_diversity,
            label_accuracy_by_class=scores.label_accuracy_by_class,
            reference=self.reference,
            recognised=self.recognised,
            provenance=self._provenance(scores, weights),
        )

    @cached_property
    def reference(self) -> dict[str, float]:
        """The metrics of held-out reals, at most as many as there are fakes; label_accuracy is that of all of them.

        Without held-out images they are those of one half of the training images, compared with the other half.
        """
        settings = self._spec.evaluation
        name = f"{self._data.sha256}-reference-2-{settings.images}-images-{settings.neighbours}-neighbours"
        return self._net.cached_metrics(name, self._compute_reference)

    @cached_property
    def recognised(self) -> dict[str, float]:
        """How well the classifier recognises each class in these images; {} without labels."""
        unseen, reals = self._reference_images
        return {} if unseen.labels is None else reals.recognised(unseen.images, unseen.labels)

    def _compute_reference(self) -> dict[str, float]:
        unseen, reals = self._reference_images
        # Fewer images are compared with fewer reals, because coverage depends on the ratio of their numbers.
        share = len(unseen) / min(MAX_COMPARED, self._spec.evaluation.images)
        num_reals = max(2, min(len(reals.images), round(share * len(self._reals.images))))
        few = num_reals < _MIN_REALS_PER_NEIGHBOUR * self._spec.evaluation.neighbours
        if few or len(unseen) < _MIN_REFERENCE_IMAGES:
            metrics = {}
        else:
            metrics = score(unseen.images, unseen.labels, reals, num_reals).metrics
        if unseen.labels is not None and self._net.predicts_classes and self._net.about.accuracy is not None:
            metrics["label_accuracy"] = self._net.about.accuracy
        return metrics

    @cached_property
    def _reference_images(self) -> tuple[HeldOut, RealStatistics]:
        """Return reals in the place of fakes, and the reals to compare them with."""
        count, data = min(MAX_COMPARED, self._spec.evaluation.images), self._data
        if data.held_out is not None:
            return random_subset(data.held_out, count, "held out"), self._reals
        shuffled = random_subset(data, len(data), "halves")
        half = min(count, max(2, len(data) // 2))
        labels = shuffled.labels
        first = HeldOut(shuffled.images[:half], None if labels is None else labels[:half])
        last = HeldOut(shuffled.images[-half:], None if labels is None else labels[-half:])
        return first, RealStatistics(last, data.info.labels, self._net, self._spec.evaluation.neighbours)

    def _provenance(self, scores: Scores, weights: str) -> dict[str, Any]:
        return {
            "feature_net": asdict(self._net.about),
            "data": {"name": self._data.info.name, "sha256": self._data.sha256, "split": "train"},
            "reference": "half of the training images" if self._data.held_out is None else "held-out images",
            "images": {
                "fakes": len(self._seeds),
                "fakes_compared": scores.images_compared,
                "reals": self._net.real.size,
                "reals_compared": scores.reals_compared,
            },
            "neighbours": scores.neighbours,
            "weights": weights,
            "seed": self._spec.seed,
            "device": str(next(iter(self._net.network.state_dict().values())).device),
            "torch": str(torch.__version__),
        }


def draw(trained: TrainedGenerator, class_ids: Tensor | None, seeds: Sequence[int]) -> Tensor:
    """Return images as a user gets them: uint8 (N, C, H, W) on the CPU. The network's mode stays as it is."""
    parts = []
    with in_eval(trained.network):
        for start in range(0, len(seeds), MAX_DRAWN_AT_ONCE):
            chunk = slice(start, start + MAX_DRAWN_AT_ONCE)
            pixels = trained.draw(None if class_ids is None else class_ids[chunk].tolist(), seeds[chunk])
            parts.append(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    return torch.cat(parts)


def proportional_classes(data: ImageDataset, count: int, source: torch.Generator) -> Tensor:
    """Return class ids (count,) in random order, each class as often as its share of `data`, rounded."""
    assert data.labels is not None
    shares = torch.bincount(data.labels.cpu(), minlength=len(data.info.classes)).double() * count / len(data)
    each = shares.floor().long()
    # The classes with the largest remainders get one more each.
    each[(each - shares).argsort(stable=True)[: count - int(each.sum())]] += 1
    ids = torch.arange(len(each)).repeat_interleave(each)
    return ids[torch.randperm(count, generator=source)]


def classifier_trained_on_fakes(
    trained: TrainedGenerator,
    data: ImageDataset,
    seed: int,
    images: int = FAKES_TO_TRAIN_ON,
    progress: recipe.Progress = recipe.no_progress,
) -> float:
    """Return the accuracy on held-out reals of a classifier that was trained on fakes alone, 0..1.

    Ravuri and Vinyals 2019, arXiv:1905.10887. It is low if the fakes of a class are too similar to each other, or do
    not belong to the class. The generator must be conditional. Without held-out images the accuracy is that on the
    training images, which the classifier did not see either.
    """
    source = generator(seed, "fakes to train on")
    class_ids = proportional_classes(data, images, source)
    seeds = torch.randint(2**62, (images,), generator=source).tolist()
    fakes = ImageDataset(data.info, draw(trained, class_ids, seeds), class_ids).to(data.images.device)
    measured = data.held_out or HeldOut(data.images, data.labels)
    classifier = recipe.fit(fakes, len(data.info.classes), FAKES_SHOWN, progress)
    return recipe.accuracy(classifier, measured)
