"""Evaluations: always the same latents and the same reals, and no effect on training."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan.architectures import build_networks
from gan.data import HeldOut, ImageDataset, to_unit_range
from gan.quality.evaluate import EvaluationResult, Evaluator, classifier_trained_on_fakes, draw, proportional_classes
from gan.quality.features import FeatureNet, for_dataset
from gan.randomness import generator
from gan.sample import TrainedGenerator
from gan.spec import TrainSpec
from gan.spec.catalog import DatasetInfo

Quick = Callable[..., TrainSpec]


class MemoryNet(nn.Module):
    """A generator that returns images of the data set: of the given class, or of any class if it ignores labels."""

    def __init__(self, data: ImageDataset, uses_labels: bool) -> None:
        super().__init__()
        self.images = nn.Parameter(to_unit_range(data.images, 16))
        assert data.labels is not None
        self.members = [(data.labels == k).nonzero()[:, 0] for k in range(len(data.info.classes))]
        self.uses_labels = uses_labels

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """Return images (N, C, 16, 16). z (N, z_dim) alone decides which image of a class it is."""
        place = (z[:, 0].abs() * 1e4).long()
        all_images = torch.cat(self.members)
        chosen = [
            self.members[int(k)][p % len(self.members[int(k)])]
            if self.uses_labels and labels is not None
            else all_images[p % len(all_images)]
            for p, k in zip(place, labels if labels is not None else place, strict=True)
        ]
        return self.images[torch.stack(chosen)]


@pytest.fixture(scope="module")
def net(shapes: ImageDataset) -> FeatureNet:
    """Return the feature network of `shapes`."""
    return for_dataset(shapes)


@pytest.fixture
def spec(quick: Quick) -> TrainSpec:
    """Return a quick spec with evaluations of 120 images."""
    return quick(evaluation={"enabled": True, "images": 120})


def memory(spec: TrainSpec, data: ImageDataset, uses_labels: bool = True) -> TrainedGenerator:
    """Return a generator of images of `data`."""
    return TrainedGenerator(MemoryNet(data, uses_labels), spec, data.info, 7)


def test_a_generator_of_training_images_has_good_metrics(
    spec: TrainSpec, shapes: ImageDataset, net: FeatureNet
) -> None:
    result = Evaluator(spec, shapes, net).evaluate(memory(spec, shapes), 7, 700, "ema")
    assert (result.step, result.images_seen) == (7, 700)
    assert result.metrics["label_accuracy"] > 0.95
    assert result.metrics["precision"] == 1.0
    assert result.metrics["coverage"] > 0.8
    assert result.metrics["diversity"] == pytest.approx(1, abs=0.1)
    assert set(result.class_histogram) == set(result.within_class_diversity) == {"top", "middle", "low"}
    assert result.class_histogram == pytest.approx(result.real_class_histogram, abs=0.05)
    assert result.label_accuracy_by_class["low"] > 0.9


def test_a_generator_that_ignores_labels_has_a_low_label_accuracy(
    spec: TrainSpec, shapes: ImageDataset, net: FeatureNet
) -> None:
    result = Evaluator(spec, shapes, net).evaluate(memory(spec, shapes, uses_labels=False), 0, 0, "ema")
    assert result.metrics["label_accuracy"] < 0.5
    assert result.metrics["coverage"] > 0.8


def test_a_result_can_be_written_to_json_and_read_back(
    spec: TrainSpec, shapes: ImageDataset, net: FeatureNet
) -> None:
    result = Evaluator(spec, shapes, net).evaluate(memory(spec, shapes), 7, 700, "raw")
    assert EvaluationResult(**json.loads(json.dumps(asdict(result), allow_nan=False))) == result


def test_the_provenance_names_all_that_the_metrics_depend_on(
    spec: TrainSpec, shapes: ImageDataset, net: FeatureNet
) -> None:
    provenance = Evaluator(spec, shapes, net).evaluate(memory(spec, shapes), 7, 700, "raw").provenance
    assert provenance["feature_net"]["sha256"] == net.about.sha256
    assert provenance["feature_net"]["accuracy"] == net.about.accuracy
    assert provenance["data"] == {"name": "shapes", "sha256": shapes.digest(), "split": "train"}
    assert provenance["images"] == {"fakes": 120, "fakes_compared": 120, "reals": 60, "reals_compared": 60}
    assert (provenance["weights"], provenance["seed"], provenance["neighbours"], provenance["device"]) == (
        "raw",
        spec.seed,
        5,
        "cpu",
    )


def test_an_evaluation_is_reproducible_and_depends_on_the_seed(
    quick: Quick, spec: TrainSpec, shapes: ImageDataset, net: FeatureNet
) -> None:
    before = torch.get_rng_state(), str(np.random.get_state())
    G, _ = build_networks(spec, shapes.info)
    evaluator, trained = Evaluator(spec, shapes, net), TrainedGenerator(G, spec, shapes.info, 0)
    first = evaluator.evaluate(trained, 1, 2, "ema")
    assert evaluator.evaluate(trained, 1, 2, "ema") == first
    assert Evaluator(spec, shapes, net).evaluate(trained, 1, 2, "ema") == first
    other = quick(evaluation={"enabled": True, "images": 120}, seed=1)
    assert Evaluator(other, shapes, net).evaluate(trained, 1, 2, "ema").metrics != first.metrics
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == str(np.random.get_state())


def test_an_evaluation_draws_in_eval_mode_and_does_not_change_the_network(
    spec: TrainSpec, shapes: ImageDataset, net: FeatureNet
) -> None:
    G, _ = build_networks(spec, shapes.info)
    G.train()
    next(G.children()).eval()
    modes, tensors = [m.training for m in G.modules()], {k: t.clone() for k, t in G.state_dict().items()}
    evaluator = Evaluator(spec, shapes, net)
    result = evaluator.evaluate(TrainedGenerator(G, spec, shapes.info, 0), 0, 0, "raw")
    assert [m.training for m in G.modules()] == modes
    assert all(torch.equal(tensors[name], tensor) for name, tensor in G.state_dict().items())
    assert evaluator.evaluate(TrainedGenerator(G.eval(), spec, shapes.info, 0), 0, 0, "raw") == result


def test_images_are_those_that_a_user_gets(spec: TrainSpec, shapes: ImageDataset) -> None:
    trained, seeds = memory(spec, shapes), list(range(600))
    class_ids = torch.arange(600) % 3
    images = draw(trained, class_ids, seeds)
    assert images.shape == (600, 1, 12, 14)
    assert np.array_equal(images[590:].permute(0, 2, 3, 1), trained.draw(class_ids[590:].tolist(), seeds[590:]))


def test_an_unconditional_generator_has_no_label_accuracy(
    quick: Quick, shapes: ImageDataset, net: FeatureNet
) -> None:
    spec = quick(evaluation={"enabled": True, "images": 100}, conditioning={"kind": "none"})
    result = Evaluator(spec, shapes, net).evaluate(memory(spec, shapes), 0, 0, "ema")
    assert "label_accuracy" not in result.metrics
    assert result.metrics["classifier_score"] > 2.5
    assert result.class_histogram["top"] == pytest.approx(1 / 3, abs=0.15)


def test_the_reference_is_that_of_held_out_images_if_there_are_any(
    spec: TrainSpec, shapes: ImageDataset, net: FeatureNet
) -> None:
    halves = Evaluator(spec, shapes, net)
    assert halves.reference["label_accuracy"] == net.about.accuracy
    assert halves.reference["coverage"] > 0.5
    assert halves.evaluate(memory(spec, shapes), 0, 0, "ema").reference == halves.reference
    assert shapes.labels is not None
    white = torch.full((30, 1, 12, 14), 255, dtype=torch.uint8)
    white_reference = Evaluator(spec, replace(shapes, held_out=HeldOut(white, shapes.labels[:30])), net)
    assert white_reference.reference["fcd"] > 10 * halves.reference["fcd"]
    assert white_reference.reference["diversity"] == 0
    assert white_reference.evaluate(memory(spec, shapes), 0, 0, "ema").provenance["reference"] == "held-out images"


def test_the_reference_is_cached(tmp_path: Path, spec: TrainSpec, shapes: ImageDataset, net: FeatureNet) -> None:
    caching = replace(net, folder=tmp_path)
    first = Evaluator(spec, shapes, caching).reference
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_text()) == first
    file.write_text(json.dumps(first | {"fcd": 42.0}))
    assert Evaluator(spec, shapes, caching).reference["fcd"] == 42.0
    k3 = spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update={"neighbours": 3})})
    assert Evaluator(k3, shapes, caching).reference["fcd"] == first["fcd"]


@pytest.mark.parametrize(
    ("counts", "count", "expected"),
    [([20, 20, 20], 30, [10, 10, 10]), ([40, 20, 0], 100, [67, 33, 0]), ([20, 20, 20], 4, [2, 1, 1])],
)
def test_classes_are_drawn_in_proportion_to_the_data(
    shapes: ImageDataset, counts: list[int], count: int, expected: list[int]
) -> None:
    uneven = replace(shapes, labels=torch.arange(3).repeat_interleave(torch.tensor(counts)))
    ids = proportional_classes(uneven, count, generator(0, "test"))
    assert torch.bincount(ids, minlength=3).tolist() == expected
    assert len(ids) == count


def test_a_classifier_trained_on_fakes_is_as_good_as_the_fakes(spec: TrainSpec, shapes: ImageDataset) -> None:
    good = classifier_trained_on_fakes(memory(spec, shapes), shapes, 0, images=30)
    assert good > 0.9
    unlabelled = classifier_trained_on_fakes(memory(spec, shapes, uses_labels=False), shapes, 0, images=30)
    assert unlabelled < 0.7


def test_the_features_of_a_ring_of_points_are_its_pixels(quick: Quick) -> None:
    angles = torch.arange(8).repeat(40) * torch.pi / 4
    points = torch.stack([angles.cos(), angles.sin()], 1) * 80 + 128
    noise = torch.randn(points.shape, generator=generator(0, "test")) * 2
    classes: list[dict[str, Any]] = [{"id": i, "label": f"mode {i}", "count": 40} for i in range(8)]
    info = DatasetInfo.model_validate(
        {"name": "ring", "num_images": 320, "channels": 1, "height": 1, "width": 2, "classes": classes}
    )
    ring = ImageDataset(info, (points + noise).round().to(torch.uint8).view(-1, 1, 1, 2), torch.arange(8).repeat(40))
    spec = quick(evaluation={"enabled": True, "images": 160}, conditioning={"kind": "none"})
    five = replace(ring, images=ring.images[ring.labels < 5], labels=ring.labels[ring.labels < 5])  # type: ignore[operator,index]

    class Points(MemoryNet):
        def __init__(self) -> None:
            super().__init__(five, uses_labels=False)

    result = Evaluator(spec, ring, for_dataset(ring)).evaluate(TrainedGenerator(Points(), spec, info, 0), 0, 0, "ema")
    assert [label for label, share in result.class_histogram.items() if share == 0] == ["mode 5", "mode 6", "mode 7"]
    assert result.metrics["recall"] < 0.7 < 0.95 < result.metrics["precision"]
    assert result.provenance["feature_net"]["task"] == "nearest_mean"
