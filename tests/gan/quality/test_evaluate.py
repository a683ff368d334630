"""An evaluation: the same latents beside the same reals each time, and nothing of training touched."""

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
    """A generator that knows images by heart and gives one of the class that is asked for, or of any."""

    def __init__(self, data: ImageDataset, listens: bool) -> None:
        super().__init__()
        self.images = nn.Parameter(to_unit_range(data.images, 16))
        assert data.labels is not None
        self.members = [(data.labels == k).nonzero()[:, 0] for k in range(len(data.info.classes))]
        self.listens = listens

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """(N, z_dim) -> (N, C, 16, 16): which image is a matter of z alone."""
        place = (z[:, 0].abs() * 1e4).long()
        everything = torch.cat(self.members)
        chosen = [
            self.members[int(k)][p % len(self.members[int(k)])]
            if self.listens and labels is not None
            else everything[p % len(everything)]
            for p, k in zip(place, labels if labels is not None else place, strict=True)
        ]
        return self.images[torch.stack(chosen)]


@pytest.fixture(scope="module")
def net(shapes: ImageDataset) -> FeatureNet:
    return for_dataset(shapes)


@pytest.fixture
def spec(quick: Quick) -> TrainSpec:
    return quick(evaluation={"enabled": True, "images": 120})


def memory(spec: TrainSpec, data: ImageDataset, listens: bool = True) -> TrainedGenerator:
    return TrainedGenerator(MemoryNet(data, listens), spec, data.info, 7)


def test_a_generator_that_knows_the_data_by_heart(spec: TrainSpec, shapes: ImageDataset, net: FeatureNet) -> None:
    found = Evaluator(spec, shapes, net).evaluate(memory(spec, shapes), 7, 700, "ema")
    assert (found.step, found.images_seen) == (7, 700)
    assert found.metrics["label_accuracy"] > 0.95
    assert found.metrics["precision"] == 1.0
    assert found.metrics["coverage"] > 0.8
    assert found.metrics["diversity"] == pytest.approx(1, abs=0.1)
    assert set(found.class_histogram) == set(found.within_class_diversity) == {"top", "middle", "low"}
    assert found.class_histogram == pytest.approx(found.real_class_histogram, abs=0.05)
    assert found.label_accuracy_by_class["low"] > 0.9


def test_a_generator_that_does_not_listen_is_found_out_by_its_labels(
    spec: TrainSpec, shapes: ImageDataset, net: FeatureNet
) -> None:
    found = Evaluator(spec, shapes, net).evaluate(memory(spec, shapes, listens=False), 0, 0, "ema")
    assert found.metrics["label_accuracy"] < 0.5
    assert found.metrics["coverage"] > 0.8


def test_an_evaluation_is_plain_and_comes_back_from_json(
    spec: TrainSpec, shapes: ImageDataset, net: FeatureNet
) -> None:
    found = Evaluator(spec, shapes, net).evaluate(memory(spec, shapes), 7, 700, "raw")
    assert EvaluationResult(**json.loads(json.dumps(asdict(found), allow_nan=False))) == found


def test_every_number_says_what_it_rests_on(spec: TrainSpec, shapes: ImageDataset, net: FeatureNet) -> None:
    said = Evaluator(spec, shapes, net).evaluate(memory(spec, shapes), 7, 700, "raw").provenance
    assert said["feature_net"]["sha256"] == net.about.sha256
    assert said["feature_net"]["accuracy"] == net.about.accuracy
    assert said["data"] == {"name": "shapes", "sha256": shapes.digest(), "split": "train"}
    assert said["images"] == {"fakes": 120, "fakes_compared": 120, "reals": 60, "reals_compared": 60}
    assert (said["weights"], said["seed"], said["neighbours"], said["device"]) == ("raw", spec.seed, 5, "cpu")


def test_it_is_the_same_again_and_of_another_seed_another(
    quick: Quick, spec: TrainSpec, shapes: ImageDataset, net: FeatureNet
) -> None:
    before = torch.get_rng_state(), str(np.random.get_state())
    G, _ = build_networks(spec, shapes.info)
    evaluator, drawn = Evaluator(spec, shapes, net), TrainedGenerator(G, spec, shapes.info, 0)
    first = evaluator.evaluate(drawn, 1, 2, "ema")
    assert evaluator.evaluate(drawn, 1, 2, "ema") == first
    assert Evaluator(spec, shapes, net).evaluate(drawn, 1, 2, "ema") == first
    other = quick(evaluation={"enabled": True, "images": 120}, seed=1)
    assert Evaluator(other, shapes, net).evaluate(drawn, 1, 2, "ema").metrics != first.metrics
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == str(np.random.get_state())


def test_it_draws_in_eval_mode_and_leaves_the_network_as_it_was(
    spec: TrainSpec, shapes: ImageDataset, net: FeatureNet
) -> None:
    G, _ = build_networks(spec, shapes.info)
    G.train()
    next(G.children()).eval()
    modes, tensors = [m.training for m in G.modules()], {k: t.clone() for k, t in G.state_dict().items()}
    evaluator = Evaluator(spec, shapes, net)
    found = evaluator.evaluate(TrainedGenerator(G, spec, shapes.info, 0), 0, 0, "raw")
    assert [m.training for m in G.modules()] == modes
    assert all(torch.equal(tensors[name], tensor) for name, tensor in G.state_dict().items())
    assert evaluator.evaluate(TrainedGenerator(G.eval(), spec, shapes.info, 0), 0, 0, "raw") == found


def test_images_are_drawn_as_a_user_would_get_them(spec: TrainSpec, shapes: ImageDataset) -> None:
    drawn, seeds = memory(spec, shapes), list(range(600))
    class_ids = torch.arange(600) % 3
    images = draw(drawn, class_ids, seeds)
    assert images.shape == (600, 1, 12, 14)
    assert np.array_equal(images[590:].permute(0, 2, 3, 1), drawn.draw(class_ids[590:].tolist(), seeds[590:]))


def test_an_unconditional_generator_is_judged_without_labels(
    quick: Quick, shapes: ImageDataset, net: FeatureNet
) -> None:
    spec = quick(evaluation={"enabled": True, "images": 100}, conditioning={"kind": "none"})
    found = Evaluator(spec, shapes, net).evaluate(memory(spec, shapes), 0, 0, "ema")
    assert "label_accuracy" not in found.metrics
    assert found.metrics["classifier_score"] > 2.5
    assert found.class_histogram["top"] == pytest.approx(1 / 3, abs=0.15)


def test_the_reference_is_of_held_out_images_where_there_are_some(
    spec: TrainSpec, shapes: ImageDataset, net: FeatureNet
) -> None:
    halves = Evaluator(spec, shapes, net)
    assert halves.reference["label_accuracy"] == net.about.accuracy
    assert halves.reference["coverage"] > 0.5
    assert halves.evaluate(memory(spec, shapes), 0, 0, "ema").reference == halves.reference
    assert shapes.labels is not None
    white = torch.full((30, 1, 12, 14), 255, dtype=torch.uint8)
    odd = Evaluator(spec, replace(shapes, held_out=HeldOut(white, shapes.labels[:30])), net)
    assert odd.reference["fcd"] > 10 * halves.reference["fcd"]
    assert odd.reference["diversity"] == 0
    assert odd.evaluate(memory(spec, shapes), 0, 0, "ema").provenance["reference"] == "held-out images"


def test_the_reference_is_computed_once_where_it_can_be_kept(
    tmp_path: Path, spec: TrainSpec, shapes: ImageDataset, net: FeatureNet
) -> None:
    keeping = replace(net, folder=tmp_path)
    first = Evaluator(spec, shapes, keeping).reference
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_text()) == first
    file.write_text(json.dumps(first | {"fcd": 42.0}))
    assert Evaluator(spec, shapes, keeping).reference["fcd"] == 42.0
    k3 = spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update={"neighbours": 3})})
    assert Evaluator(k3, shapes, keeping).reference["fcd"] == first["fcd"]


@pytest.mark.parametrize(
    ("counts", "asked", "expected"),
    [([20, 20, 20], 30, [10, 10, 10]), ([40, 20, 0], 100, [67, 33, 0]), ([20, 20, 20], 4, [2, 1, 1])],
)
def test_classes_are_asked_for_as_often_as_the_data_has_them(
    shapes: ImageDataset, counts: list[int], asked: int, expected: list[int]
) -> None:
    uneven = replace(shapes, labels=torch.arange(3).repeat_interleave(torch.tensor(counts)))
    ids = proportional_classes(uneven, asked, generator(0, "test"))
    assert torch.bincount(ids, minlength=3).tolist() == expected
    assert len(ids) == asked


def test_a_classifier_trained_on_fakes_is_as_good_as_they_are(spec: TrainSpec, shapes: ImageDataset) -> None:
    good = classifier_trained_on_fakes(memory(spec, shapes), shapes, 0, images=30)
    assert good > 0.9
    deaf = classifier_trained_on_fakes(memory(spec, shapes, listens=False), shapes, 0, images=30)
    assert deaf < 0.7


def test_a_ring_of_points_is_judged_by_its_pixels(quick: Quick) -> None:
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
            super().__init__(five, listens=False)

    found = Evaluator(spec, ring, for_dataset(ring)).evaluate(TrainedGenerator(Points(), spec, info, 0), 0, 0, "ema")
    assert [label for label, share in found.class_histogram.items() if share == 0] == ["mode 5", "mode 6", "mode 7"]
    assert found.metrics["recall"] < 0.7 < 0.95 < found.metrics["precision"]
    assert found.provenance["feature_net"]["task"] == "nearest_mean"
