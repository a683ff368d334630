"""Corruptions of real images: each gives the finding for it and no other.

Real held-out images replace the images of a perfect generator. Each corruption changes them in one way; then they are
evaluated like the images of a generator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gan.data import HeldOut, ImageDataset
from gan.datasets import load
from gan.health import HealthMonitor
from gan.quality import features
from gan.quality.evaluate import EvaluationResult
from gan.quality.scores import RealStatistics, num_reals_for, random_subset, score
from gan.randomness import generator
from gan.spec import TrainSpec, resolve

EVERY: Final = 1_000
DRESS, SHIRT = 3, 6


def unchanged(data: ImageDataset, unseen: HeldOut) -> HeldOut:
    """Return the images as they are."""
    return unseen


def memorised(each: int) -> Callable[[ImageDataset, HeldOut], HeldOut]:
    """Return a corruption that replaces all images by copies of `each` training images per class."""

    def corrupt(data: ImageDataset, unseen: HeldOut) -> HeldOut:
        assert data.labels is not None and unseen.labels is not None
        members = torch.stack([(data.labels == k).nonzero()[:each, 0] for k in range(len(data.info.classes))])
        copy = torch.arange(len(unseen)) % each
        return HeldOut(data.images[members[unseen.labels, copy]], unseen.labels)

    return corrupt


def one_class_dropped(data: ImageDataset, unseen: HeldOut) -> HeldOut:
    """Remove all images of one class."""
    assert unseen.labels is not None
    kept = unseen.labels != DRESS
    return HeldOut(unseen.images[kept], unseen.labels[kept])


def one_class_drawn_as_another(data: ImageDataset, unseen: HeldOut) -> HeldOut:
    """Replace the images of one class by those of another, with the labels of the first."""
    assert unseen.labels is not None
    images = unseen.images.clone()
    images[unseen.labels == DRESS] = images[unseen.labels == SHIRT]
    return HeldOut(images, unseen.labels)


def labels_shuffled(data: ImageDataset, unseen: HeldOut) -> HeldOut:
    """Shuffle the labels."""
    assert unseen.labels is not None
    return HeldOut(unseen.images, unseen.labels[torch.randperm(len(unseen), generator=generator(0, "test"))])


def blurred(data: ImageDataset, unseen: HeldOut) -> HeldOut:
    """Blur the images with a mean of 3 x 3 pixels."""
    soft: Tensor = F.avg_pool2d(unseen.images.float(), 3, stride=1, padding=1)
    return HeldOut(soft.round().to(torch.uint8), unseen.labels)


def noise(data: ImageDataset, unseen: HeldOut) -> HeldOut:
    """Replace the images by uniform noise."""
    drawn = torch.randint(0, 256, unseen.images.shape, generator=generator(0, "test"), dtype=torch.uint8)
    return HeldOut(drawn, unseen.labels)


@dataclass(frozen=True)
class CorruptionRow:
    """A corruption, and the findings for a generator that draws such images."""

    corrupt: Callable[[ImageDataset, HeldOut], HeldOut]
    after_good: str | None
    """The finding for a generator that was good before."""
    always: str | None
    """The finding for a generator that has drawn such images since the warm-up."""


TABLE: Final[dict[str, CorruptionRow]] = {
    "real, held out": CorruptionRow(unchanged, None, None),
    "one image per class": CorruptionRow(memorised(1), "mode_collapse", "mode_collapse"),
    # The same share of a class as 50 of 6,000.
    "5 images per class": CorruptionRow(memorised(5), "mode_collapse", "mode_collapse"),
    "a class dropped": CorruptionRow(one_class_dropped, "class_collapse", "class_collapse"),
    "a class drawn as another": CorruptionRow(one_class_drawn_as_another, "class_collapse", "class_collapse"),
    "labels shuffled": CorruptionRow(labels_shuffled, "conditioning_ignored", "conditioning_ignored"),
    # Blurred images are poor, but a generator that always drew them has learned something.
    "blurred": CorruptionRow(blurred, "past_best", None),
    "noise": CorruptionRow(noise, "past_best", "never_learned"),
}


@pytest.fixture(scope="module")
def spec() -> TrainSpec:
    """Return a spec with frequent evaluations."""
    schedule = {"total_steps": 20 * EVERY, "evaluation": {"every_steps": EVERY, "images": 1_000}}
    return resolve({"dataset": "fashion-mnist-mini", **schedule})


@pytest.fixture(scope="module")
def data() -> ImageDataset:
    """Return the small part of Fashion-MNIST."""
    return load("fashion-mnist-mini")


@pytest.fixture(scope="module")
def measured(spec: TrainSpec, data: ImageDataset) -> dict[str, EvaluationResult]:
    """Return the evaluation of each row of the table. Its step must still be set."""
    assert data.held_out is not None
    reals = random_subset(data, num_reals_for(spec.evaluation.images, len(data)), "reals to compare with")
    compared = RealStatistics(reals, data.info.labels, features.for_dataset(data), spec.evaluation.neighbours)
    reference = score(data.held_out.images, data.held_out.labels, compared).metrics
    evaluations = {}
    for name, row in TABLE.items():
        images, labels = (corrupted := row.corrupt(data, data.held_out)).images, corrupted.labels
        scores = score(images, labels, compared)
        evaluations[name] = EvaluationResult(
            step=0,
            images_seen=0,
            metrics=scores.metrics,
            class_histogram=scores.class_histogram,
            real_class_histogram=compared.class_histogram,
            within_class_diversity=scores.within_class_diversity,
            label_accuracy_by_class=scores.label_accuracy_by_class,
            reference=reference,
        )
    return evaluations


def findings_of(run: list[EvaluationResult], spec: TrainSpec, data: ImageDataset) -> set[str]:
    """Return the codes of the findings after a sequence of evaluations, of which the first is of the untrained G."""
    health = HealthMonitor(spec, data.info)
    raised = [health.add_evaluation(replace(one, step=i * EVERY)) for i, one in enumerate(run)]
    return {finding.code for findings in raised for finding in findings}


def improving(perfect: EvaluationResult) -> list[EvaluationResult]:
    """Return eight evaluations, each better than the one before; the last is `perfect`."""
    fcd = perfect.metrics["fcd"]
    return [replace(perfect, metrics={**perfect.metrics, "fcd": factor * fcd}) for factor in range(8, 0, -1)]


@pytest.mark.parametrize("name", TABLE)
def test_a_corruption_after_good_images_gives_its_own_finding_only(
    name: str, measured: dict[str, EvaluationResult], spec: TrainSpec, data: ImageDataset
) -> None:
    history = [measured["noise"], *improving(measured["real, held out"])]
    # Two evaluations show every failure except past_best, which needs five evaluations without a new best.
    repeats = 6 if TABLE[name].after_good in (None, "past_best") else 2
    found = findings_of([*history, *[measured[name]] * repeats], spec, data)
    assert found == {TABLE[name].after_good} - {None}


@pytest.mark.parametrize("name", TABLE)
def test_a_corruption_from_the_start_gives_its_own_finding_only(
    name: str, measured: dict[str, EvaluationResult], spec: TrainSpec, data: ImageDataset
) -> None:
    found = findings_of([measured["noise"], *[measured[name]] * 12], spec, data)
    assert found == {TABLE[name].always} - {None}


def test_the_first_evaluation_after_the_warm_up_gives_no_wrong_finding(
    measured: dict[str, EvaluationResult], spec: TrainSpec, data: ImageDataset
) -> None:
    """Findings that also fit a generator early in training must come later."""
    at_once = {
        name: findings_of([measured["noise"], measured["noise"], measured[name]], spec, data) for name in TABLE
    }
    assert at_once["one image per class"] == {"mode_collapse"}
    assert [name for name, found in at_once.items() if not found <= {TABLE[name].always}] == []


def test_which_metrics_each_corruption_changes(measured: dict[str, EvaluationResult]) -> None:
    """The Fréchet distance does not change with a collapse or with wrong labels; other metrics do."""
    metrics = {name: one.metrics for name, one in measured.items()}
    real, few = metrics["real, held out"], metrics["5 images per class"]
    assert few["fcd"] < 2 < metrics["blurred"]["fcd"] < metrics["noise"]["fcd"]
    assert few["precision"] > 0.9
    assert few["recall"] < 0.05
    assert few["coverage"] < 0.2 < 0.7 < real["coverage"]
    shuffled = metrics["labels shuffled"]
    assert {k: v for k, v in shuffled.items() if k not in ("label_accuracy", "diversity")} == {
        k: v for k, v in real.items() if k not in ("label_accuracy", "diversity")
    }
    assert shuffled["label_accuracy"] < 0.2 < 0.9 < real["label_accuracy"]
