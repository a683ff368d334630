"""How corruptions of real images change each metric.

No metric shows every corruption: the Fréchet distance does not show memorised images, and metrics that do not use
labels do not show wrong labels.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gan.data import HeldOut, ImageDataset
from gan.datasets import load
from gan.quality.features import for_dataset
from gan.quality.scores import (
    RealStatistics,
    Scores,
    classifier_score,
    histogram,
    num_reals_for,
    random_subset,
    score,
)
from gan.randomness import generator
from gan.spec.catalog import DatasetInfo
from gan.spec.metrics import QUALITY_METRICS

COUNT = 1000


@pytest.fixture(scope="module")
def mini() -> ImageDataset:
    """Return the small part of Fashion-MNIST."""
    return load("fashion-mnist-mini")


@pytest.fixture(scope="module")
def reals(mini: ImageDataset) -> RealStatistics:
    """Return the reals that `COUNT` images are compared with."""
    return RealStatistics(
        random_subset(mini, num_reals_for(COUNT, len(mini)), "test"), mini.info.labels, for_dataset(mini), 5
    )


@pytest.fixture(scope="module")
def unseen(mini: ImageDataset) -> HeldOut:
    """Return the held-out images."""
    assert mini.held_out is not None
    return mini.held_out


@pytest.fixture(scope="module")
def best(unseen: HeldOut, reals: RealStatistics) -> Scores:
    """Return the scores of real images, which are the best possible."""
    return score(unseen.images, unseen.labels, reals)


def test_every_declared_metric_is_computed_in_the_declared_order(best: Scores) -> None:
    assert [*best.metrics, "accuracy_trained_on_fakes"] == list(QUALITY_METRICS)


def memorised(mini: ImageDataset, each: int) -> tuple[Tensor, Tensor]:
    """Return `COUNT` images and labels in order of class: the first `each` images of a class, repeated."""
    assert mini.labels is not None
    chosen = torch.cat([(mini.labels == k).nonzero()[:each, 0].repeat(COUNT // 10 // each) for k in range(10)])
    return mini.images[chosen], mini.labels[chosen]


def test_real_images_have_the_best_scores(best: Scores, unseen: HeldOut) -> None:
    found = best.metrics
    assert found["fcd"] < 0.1
    assert abs(found["kcd"]) < 0.002
    assert found["precision"] > 0.93
    assert found["recall"] > 0.93
    assert found["density"] == pytest.approx(1, abs=0.1)
    assert found["coverage"] > 0.8
    assert found["label_accuracy"] > 0.9
    assert found["diversity"] == pytest.approx(1, abs=0.05)
    assert found["classifier_score"] > 8
    assert min(best.class_histogram.values()) > 0.08
    assert sum(best.class_histogram.values()) == pytest.approx(1)
    assert (best.images_compared, best.reals_compared, best.neighbours) == (1000, 2500, 5)


def test_one_repeated_image_per_class(mini: ImageDataset, reals: RealStatistics) -> None:
    found = score(*memorised(mini, 1), reals)
    assert found.metrics["precision"] > 0.8
    assert found.metrics["label_accuracy"] > 0.9
    assert found.metrics["recall"] < 0.02
    assert found.metrics["coverage"] < 0.05
    assert found.metrics["diversity"] == 0
    assert set(found.within_class_diversity.values()) == {0.0}
    assert found.metrics["fcd"] > 3


def test_a_few_memorised_images_lower_coverage_but_not_the_frechet_distance(
    mini: ImageDataset, reals: RealStatistics, best: Scores
) -> None:
    found = score(*memorised(mini, 20), reals).metrics
    # Better than the Fréchet distance of any generator that was measured.
    assert found["fcd"] < 0.6
    assert found["coverage"] < best.metrics["coverage"] / 2
    assert found["precision"] > 0.9
    assert found["diversity"] > 0.8


def test_a_dropped_class(unseen: HeldOut, reals: RealStatistics, best: Scores) -> None:
    assert unseen.labels is not None
    kept = unseen.labels != 3
    found = score(unseen.images[kept], unseen.labels[kept], reals)
    assert found.class_histogram["Dress"] < 0.2 * reals.class_histogram["Dress"]
    assert "Dress" not in found.label_accuracy_by_class
    assert "Dress" not in found.within_class_diversity
    assert found.metrics["fcd"] > 5 * best.metrics["fcd"]
    assert found.metrics["recall"] > 0.9


def test_shuffled_labels_change_label_accuracy_only(unseen: HeldOut, reals: RealStatistics, best: Scores) -> None:
    assert unseen.labels is not None
    order = torch.randperm(COUNT, generator=generator(0, "test"))
    found = score(unseen.images, unseen.labels[order], reals)
    assert found.metrics["label_accuracy"] < 0.2
    assert max(found.label_accuracy_by_class.values()) < 0.4
    for blind in ("fcd", "kcd", "precision", "recall", "density", "coverage", "classifier_score"):
        assert found.metrics[blind] == best.metrics[blind]


def test_blur(unseen: HeldOut, reals: RealStatistics, best: Scores) -> None:
    blurred = F.avg_pool2d(unseen.images.float(), 3, 1, 1).round().to(torch.uint8)
    found = score(blurred, unseen.labels, reals).metrics
    assert found["fcd"] > 30 * best.metrics["fcd"]
    assert found["kcd"] > 0.03
    assert found["coverage"] < best.metrics["coverage"] / 2
    assert found["precision"] < 0.8


def test_noise(unseen: HeldOut, reals: RealStatistics) -> None:
    noise = torch.randint(0, 256, unseen.images.shape, generator=generator(0, "noise"), dtype=torch.uint8)
    found = score(noise, unseen.labels, reals).metrics
    assert found["fcd"] > 30
    assert found["precision"] == found["recall"] == found["coverage"] == 0
    assert found["label_accuracy"] < 0.2
    assert found["classifier_score"] < 1.5


def test_without_labels_the_classifier_decides_the_class(unseen: HeldOut, reals: RealStatistics) -> None:
    found = score(unseen.images, None, reals)
    assert "label_accuracy" not in found.metrics
    assert found.label_accuracy_by_class == {}
    assert found.metrics["classifier_score"] > 8
    assert min(found.within_class_diversity.values()) > 0.8


def test_a_data_set_without_classes_has_no_metrics_of_classes() -> None:
    source = generator(0, "test")
    images = torch.randint(0, 256, (80, 3, 10, 8), generator=source, dtype=torch.uint8)
    info = load("fashion-mnist-mini").info.model_copy(
        update={"name": "noise", "channels": 3, "height": 10, "width": 8, "classes": (), "sha256": None}
    )
    data = ImageDataset(info, images, None)
    reals = RealStatistics(random_subset(data, 60, "test"), (), for_dataset(data), 5)
    found = score(images[:40], None, reals)
    assert set(found.metrics) == {"fcd", "kcd", "precision", "recall", "density", "coverage", "diversity"}
    assert found.metrics["diversity"] == pytest.approx(1, abs=0.05)
    assert found.class_histogram == found.within_class_diversity == {}
    assert score(images[:1].repeat(40, 1, 1, 1), None, reals).metrics["diversity"] == 0


def test_scores_are_reproducible_and_do_not_use_the_global_generator(
    unseen: HeldOut, reals: RealStatistics, best: Scores
) -> None:
    before = torch.get_rng_state()
    assert score(unseen.images, unseen.labels, reals) == best
    assert torch.equal(before, torch.get_rng_state())


def test_more_images_have_a_lower_frechet_distance(mini: ImageDataset, reals: RealStatistics) -> None:
    few, many = (random_subset(mini, count, "other") for count in (250, 2000))
    small, large = score(few.images, few.labels, reals), score(many.images, many.labels, reals)
    assert large.metrics["fcd"] < small.metrics["fcd"] / 3
    assert small.reals_compared == 625


def test_the_number_of_reals_for_a_number_of_images() -> None:
    assert num_reals_for(2000, 60_000) == num_reals_for(50_000, 60_000) == 5000
    assert num_reals_for(100, 60_000) == 250
    assert num_reals_for(2000, 300) == 300


def test_the_classifier_score_is_between_one_and_the_number_of_classes() -> None:
    certain = torch.eye(4).repeat(5, 1) * 1000
    assert classifier_score(certain) == pytest.approx(4)
    assert classifier_score(certain[:1].repeat(9, 1)) == pytest.approx(1)
    assert classifier_score(torch.zeros(9, 4)) == pytest.approx(1)
    # Two of four classes, with certainty.
    assert classifier_score(certain[:2]) == pytest.approx(2)


def test_a_histogram_has_shares() -> None:
    assert histogram(torch.tensor([0, 2, 2, 2]), ("a", "b", "c")) == {"a": 0.25, "b": 0.0, "c": 0.75}
    assert histogram(torch.tensor([0, 2]), ()) == {}


def test_figures_of_images_without_variety_are_absent_not_zero() -> None:
    """All real images are equal: no fake can lie among them, and no two of them differ."""
    white = torch.full((60, 1, 2, 1), 255, dtype=torch.uint8)
    data = ImageDataset(
        DatasetInfo(name="white", num_images=60, channels=1, height=2, width=1, classes=()), white, None
    )
    reals = RealStatistics(random_subset(data, 60, "test"), (), for_dataset(data), 5)
    found = score(white - torch.arange(60).to(torch.uint8)[:, None, None, None], None, reals)
    assert found.metrics.keys() == {"fcd", "kcd"}
    assert found.within_class_diversity == {}


def test_classes_with_the_same_images_are_not_recognised(mini: ImageDataset, reals: RealStatistics) -> None:
    assert mini.held_out is not None and mini.held_out.labels is not None
    images, own = mini.held_out.images, mini.held_out.labels
    assert min(reals.recognised(images, own).values()) > 0.7
    twins = own.clone()
    members = (own == 3).nonzero()[:, 0]
    twins[members[::2]] = 5
    twins[own == 5] = 3
    of_twins = reals.recognised(images, twins)
    assert max(of_twins["Dress"], of_twins["Sandal"]) < 0.7
