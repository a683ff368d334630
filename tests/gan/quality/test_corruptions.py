"""Every corruption of the design's table, as images: each trips its own detector and no other.

Real held-out images stand for what a perfect generator draws, are spoilt in one way each, and are measured as a
generator's images are.
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


def as_they_are(data: ImageDataset, unseen: HeldOut) -> HeldOut:
    return unseen


def memorised(each: int) -> Callable[[ImageDataset, HeldOut], HeldOut]:
    """As many images as are held out, all of them copies of `each` training images a class."""

    def corrupt(data: ImageDataset, unseen: HeldOut) -> HeldOut:
        assert data.labels is not None and unseen.labels is not None
        members = torch.stack([(data.labels == k).nonzero()[:each, 0] for k in range(len(data.info.classes))])
        copy = torch.arange(len(unseen)) % each
        return HeldOut(data.images[members[unseen.labels, copy]], unseen.labels)

    return corrupt


def one_class_dropped(data: ImageDataset, unseen: HeldOut) -> HeldOut:
    assert unseen.labels is not None
    kept = unseen.labels != DRESS
    return HeldOut(unseen.images[kept], unseen.labels[kept])


def one_class_drawn_as_another(data: ImageDataset, unseen: HeldOut) -> HeldOut:
    assert unseen.labels is not None
    images = unseen.images.clone()
    images[unseen.labels == DRESS] = images[unseen.labels == SHIRT]
    return HeldOut(images, unseen.labels)


def labels_shuffled(data: ImageDataset, unseen: HeldOut) -> HeldOut:
    assert unseen.labels is not None
    return HeldOut(unseen.images, unseen.labels[torch.randperm(len(unseen), generator=generator(0, "test"))])


def blurred(data: ImageDataset, unseen: HeldOut) -> HeldOut:
    soft: Tensor = F.avg_pool2d(unseen.images.float(), 3, stride=1, padding=1)
    return HeldOut(soft.round().to(torch.uint8), unseen.labels)


def noise(data: ImageDataset, unseen: HeldOut) -> HeldOut:
    drawn = torch.randint(0, 256, unseen.images.shape, generator=generator(0, "test"), dtype=torch.uint8)
    return HeldOut(drawn, unseen.labels)


@dataclass(frozen=True)
class CorruptionRow:
    """A corruption, and what must be found in a generator that draws so."""

    corrupt: Callable[[ImageDataset, HeldOut], HeldOut]
    fallen: str | None
    """Of one that was good before."""
    never_good: str | None
    """Of one that has drawn so ever since the warm-up."""


TABLE: Final[dict[str, CorruptionRow]] = {
    "real, held out": CorruptionRow(as_they_are, None, None),
    "one image a class": CorruptionRow(memorised(1), "mode_collapse", "mode_collapse"),
    # The share of a class that 50 of 6,000 are.
    "5 images a class": CorruptionRow(memorised(5), "mode_collapse", "mode_collapse"),
    "a class dropped": CorruptionRow(one_class_dropped, "class_collapse", "class_collapse"),
    "a class drawn as another": CorruptionRow(one_class_drawn_as_another, "class_collapse", "class_collapse"),
    "labels shuffled": CorruptionRow(labels_shuffled, "conditioning_ignored", "conditioning_ignored"),
    # Soft images are poor, and far better than none: who always drew so has learned something.
    "blurred": CorruptionRow(blurred, "past_best", None),
    "noise": CorruptionRow(noise, "past_best", "never_learned"),
}


@pytest.fixture(scope="module")
def spec() -> TrainSpec:
    schedule = {"total_steps": 20 * EVERY, "evaluation": {"every_steps": EVERY, "images": 1_000}}
    return resolve({"dataset": "fashion-mnist-mini", **schedule})


@pytest.fixture(scope="module")
def data() -> ImageDataset:
    return load("fashion-mnist-mini")


@pytest.fixture(scope="module")
def measured(spec: TrainSpec, data: ImageDataset) -> dict[str, EvaluationResult]:
    """Each row of the table as an evaluation; its step is still to be said."""
    assert data.held_out is not None
    reals = random_subset(data, num_reals_for(spec.evaluation.images, len(data)), "reals to compare with")
    beside = RealStatistics(reals, data.info.labels, features.for_dataset(data), spec.evaluation.neighbours)
    reference = score(data.held_out.images, data.held_out.labels, beside).metrics
    found = {}
    for name, row in TABLE.items():
        images, labels = (spoilt := row.corrupt(data, data.held_out)).images, spoilt.labels
        scores = score(images, labels, beside)
        found[name] = EvaluationResult(
            step=0,
            images_seen=0,
            metrics=scores.metrics,
            class_histogram=scores.class_histogram,
            real_class_histogram=beside.class_histogram,
            within_class_diversity=scores.within_class_diversity,
            label_accuracy_by_class=scores.label_accuracy_by_class,
            reference=reference,
        )
    return found


def found_in(run: list[EvaluationResult], spec: TrainSpec, data: ImageDataset) -> set[str]:
    """Return the findings for a sequence of evaluations, after that of the untrained generator."""
    health = HealthMonitor(spec, data.info)
    raised = [health.add_evaluation(replace(one, step=i * EVERY)) for i, one in enumerate(run)]
    return {finding.code for findings in raised for finding in findings}


def improving(perfect: EvaluationResult) -> list[EvaluationResult]:
    """Eight evaluations, each better than the one before; the last is `perfect`."""
    fcd = perfect.metrics["fcd"]
    return [replace(perfect, metrics={**perfect.metrics, "fcd": factor * fcd}) for factor in range(8, 0, -1)]


@pytest.mark.parametrize("name", TABLE)
def test_a_good_generator_that_falls_trips_the_right_detector_and_no_other(
    name: str, measured: dict[str, EvaluationResult], spec: TrainSpec, data: ImageDataset
) -> None:
    history = [measured["noise"], *improving(measured["real, held out"])]
    # Two evaluations are enough for every failure but a slow one: five without a new best are past_best, of any kind.
    lately = 6 if TABLE[name].fallen in (None, "past_best") else 2
    found = found_in([*history, *[measured[name]] * lately], spec, data)
    assert found == {TABLE[name].fallen} - {None}


@pytest.mark.parametrize("name", TABLE)
def test_one_that_never_was_good_trips_it_too(
    name: str, measured: dict[str, EvaluationResult], spec: TrainSpec, data: ImageDataset
) -> None:
    found = found_in([measured["noise"], *[measured[name]] * 12], spec, data)
    assert found == {TABLE[name].never_good} - {None}


def test_the_first_evaluation_of_all_accuses_nobody_wrongly(
    measured: dict[str, EvaluationResult], spec: TrainSpec, data: ImageDataset
) -> None:
    """One look, just past the warm-up: what needs time to be told from a young generator waits."""
    at_once = {name: found_in([measured["noise"], measured["noise"], measured[name]], spec, data) for name in TABLE}
    assert at_once["one image a class"] == {"mode_collapse"}
    assert [name for name, found in at_once.items() if not found <= {TABLE[name].never_good}] == []


def test_the_figures_are_those_of_the_table(measured: dict[str, EvaluationResult]) -> None:
    """The Fréchet distance sees no collapse and no broken label: what does is asked instead."""
    figures = {name: one.metrics for name, one in measured.items()}
    real, few = figures["real, held out"], figures["5 images a class"]
    assert few["fcd"] < 2 < figures["blurred"]["fcd"] < figures["noise"]["fcd"]
    assert few["precision"] > 0.9
    assert few["recall"] < 0.05
    assert few["coverage"] < 0.2 < 0.7 < real["coverage"]
    shuffled = figures["labels shuffled"]
    assert {k: v for k, v in shuffled.items() if k not in ("label_accuracy", "diversity")} == {
        k: v for k, v in real.items() if k not in ("label_accuracy", "diversity")
    }
    assert shuffled["label_accuracy"] < 0.2 < 0.9 < real["label_accuracy"]
