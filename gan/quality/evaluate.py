"""How good a generator is, measured while it trains: always the same latents, beside the same real images."""

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
from gan.quality.scores import (
    MOST_COMPARED,
    RealStatistics,
    Scores,
    nearest_training_ratio,
    reals_for,
    score,
    some,
)
from gan.randomness import generator
from gan.sample import TrainedGenerator
from gan.spec import TrainSpec

__all__ = [
    "EvaluationResult",
    "Evaluator",
    "RealStatistics",
    "Scores",
    "classifier_trained_on_fakes",
    "draw",
    "nearest_training_ratio",
    "score",
]

# Images that are drawn at once: in float32, 500 of 128 x 128 in colour are 100 MB.
DRAWN_AT_ONCE: Final = 512
# On how many fakes a classifier is trained, and how many it is shown: half a minute on one core.
FAKES_TO_TRAIN_ON, FAKES_SHOWN = 10_000, 100_000


@dataclass(frozen=True)
class EvaluationResult:
    """One evaluation. Plain values only: `asdict` makes JSON of it, and `Evaluation(**...)` reads it back."""

    step: int
    images_seen: int
    metrics: dict[str, float]
    """As in `gan.quality.scores.Scores`, and the three tables that follow."""
    class_histogram: dict[str, float]
    real_class_histogram: dict[str, float]
    """The same of the real images that the fakes are compared with."""
    within_class_diversity: dict[str, float]
    label_accuracy_by_class: dict[str, float]
    reference: dict[str, float] = field(default_factory=dict)
    """The same metrics of real images that nothing was trained on: what a perfect generator would get."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """What the figures rest on: feature network, counts, split, k, weights, seed, versions."""


class Evaluator:
    """Evaluates the generators of one run: fixed seeds, classes as frequent as in the data set, fixed reals.

    It draws from streams of its own, and leaves a network in the mode in which it found it.
    """

    def __init__(
        self, spec: TrainSpec, data: ImageDataset, features: FeatureNet, device: torch.device | str = "cpu"
    ) -> None:
        self._spec, self._data = spec, data
        self._net = features.to(device)
        asked = spec.evaluation
        reals = some(data, reals_for(asked.images, len(data)), "reals to compare with")
        self._reals = RealStatistics(reals, data.info.labels, self._net, asked.neighbours)
        source = generator(spec.seed, "evaluation")
        self._seeds = torch.randint(2**62, (asked.images,), generator=source).tolist()
        self._class_ids = balanced(data, asked.images, source) if spec.conditional else None

    def evaluate(
        self, drawn: TrainedGenerator, step: int, images_seen: int, weights: Literal["ema", "raw"]
    ) -> EvaluationResult:
        """Draw, and measure. `weights` says whose they are: the average's, or G's own."""
        images = draw(drawn, self._class_ids, self._seeds)
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
            provenance=self._provenance(scores, weights),
        )

    @cached_property
    def reference(self) -> dict[str, float]:
        """The metrics of as many held-out reals, at most; label_accuracy is the classifier's on all of them.

        Without held-out images, of one half of the training images beside the other.
        """
        asked = self._spec.evaluation
        name = f"{self._data.sha256}-reference-{asked.images}-images-{asked.neighbours}-neighbours"
        return self._net.remember(name, self._compute_reference)

    def _compute_reference(self) -> dict[str, float]:
        unseen, reals = self._unseen()
        # Of fewer images, with fewer reals: what there are of one to the other is what coverage depends on.
        share = len(unseen) / min(MOST_COMPARED, self._spec.evaluation.images)
        against = max(2, min(len(reals.images), round(share * len(self._reals.images))))
        metrics = score(unseen.images, unseen.labels, reals, against).metrics
        if "label_accuracy" in metrics and self._net.about.accuracy is not None:
            metrics["label_accuracy"] = self._net.about.accuracy
        return metrics

    def _unseen(self) -> tuple[HeldOut, RealStatistics]:
        """Reals that stand for perfect fakes, and the reals to compare them with."""
        count, data = min(MOST_COMPARED, self._spec.evaluation.images), self._data
        if data.held_out is not None:
            return some(data.held_out, count, "held out"), self._reals
        shuffled = some(data, len(data), "halves")
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


def draw(drawn: TrainedGenerator, class_ids: Tensor | None, seeds: Sequence[int]) -> Tensor:
    """Images as a user would get them: uint8 (N, C, H, W) on the CPU. `drawn` is left in the mode that it was in."""
    parts = []
    with in_eval(drawn.network):
        for start in range(0, len(seeds), DRAWN_AT_ONCE):
            asked = slice(start, start + DRAWN_AT_ONCE)
            pixels = drawn.draw(None if class_ids is None else class_ids[asked].tolist(), seeds[asked])
            parts.append(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    return torch.cat(parts)


def balanced(data: ImageDataset, count: int, source: torch.Generator) -> Tensor:
    """Class ids (count,) in random order, each class as often as its share of `data`, to the nearest whole image."""
    assert data.labels is not None
    shares = torch.bincount(data.labels.cpu(), minlength=len(data.info.classes)).double() * count / len(data)
    each = shares.floor().long()
    # The largest remainders get one more each.
    each[(each - shares).argsort(stable=True)[: count - int(each.sum())]] += 1
    ids = torch.arange(len(each)).repeat_interleave(each)
    return ids[torch.randperm(count, generator=source)]


def classifier_trained_on_fakes(
    drawn: TrainedGenerator,
    data: ImageDataset,
    seed: int,
    images: int = FAKES_TO_TRAIN_ON,
    progress: recipe.Progress = recipe.untold,
) -> float:
    """The accuracy on held-out reals of a classifier that saw nothing but fakes (Ravuri and Vinyals 2019,
    arXiv:1905.10887): low where the fakes of a class are too alike, or not of it. Of a conditional generator only.

    Without held-out images, on the training images, none of which it saw.
    """
    source = generator(seed, "fakes to train on")
    class_ids = balanced(data, images, source)
    seeds = torch.randint(2**62, (images,), generator=source).tolist()
    fakes = ImageDataset(data.info, draw(drawn, class_ids, seeds), class_ids).to(data.images.device)
    measured = data.held_out or HeldOut(data.images, data.labels)
    classifier = recipe.fit(fakes, len(data.info.classes), FAKES_SHOWN, progress)
    return recipe.accuracy(classifier, measured)
