"""Probes: what they see in images that are made to show it, and that training does not notice them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan.architectures import build_networks
from gan.architectures.discriminator import DiscriminatorOutput
from gan.data import HeldOut, ImageDataset, to_unit_range
from gan.frozen import in_eval
from gan.quality.probes import Prober
from gan.spec import TrainSpec
from gan.spec.catalog import DatasetClass, DatasetInfo
from gan.spec.presets import PRESETS

Quick = Callable[..., TrainSpec]
LABELLED: dict[str, Any] = {"conditioning": {"kind": "concat", "generator": "concat"}}
PLAIN: dict[str, Any] = {"preset": "dcgan", "ema": {"enabled": True}}


class FixedDraws(nn.Module):
    """A G that draws what it is told: `draw(z, labels)`."""

    def __init__(self, draw: Callable[[Tensor, Tensor | None], Tensor]) -> None:
        super().__init__()
        self.draw = draw

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return self.draw(z, labels)


class Judges(nn.Module):
    """A D that says what it is told: `say(images, labels)`, logits (N,); and log P(class) where `name` says it."""

    def __init__(
        self, say: Callable[[Tensor, Tensor | None], Tensor], name: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.say, self.name = say, name

    def outputs(self, images: Tensor, labels: Tensor | None) -> DiscriminatorOutput:
        named = None if self.name is None else self.name(images)
        return DiscriminatorOutput(self.say(images, labels), named, images.flatten(1))

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        return self.outputs(images, labels).logits


def brightness(images: Tensor, labels: Tensor | None) -> Tensor:
    return images.mean((1, 2, 3))


def reals_of(data: ImageDataset) -> FixedDraws:
    """Draws a real image of the class that is asked for."""
    images = to_unit_range(data.images, 16)
    assert data.labels is not None
    members = [images[data.labels == k] for k in range(3)]

    def draw(z: Tensor, labels: Tensor | None) -> Tensor:
        ids = torch.zeros(len(z), dtype=torch.int64) if labels is None else labels
        return torch.stack([members[int(k)][i % len(members[int(k)])] for i, k in enumerate(ids)])

    return FixedDraws(draw)


def alike(z: Tensor, labels: Tensor | None) -> Tensor:
    ids = torch.zeros(len(z)) if labels is None else labels.float()
    return (ids / 3)[:, None, None, None].expand(-1, 1, 16, 16) + 1e-4 * z[:, :1, None, None]


@pytest.fixture
def held_out(shapes: ImageDataset) -> ImageDataset:
    """`shapes`, with the first of each class held out besides."""
    assert shapes.labels is not None
    return replace(shapes, held_out=HeldOut(shapes.images[::2], shapes.labels[::2]))


def prober(spec: TrainSpec, data: ImageDataset) -> Prober:
    return Prober(spec, data)


def test_real_images_are_as_diverse_as_real_images(quick: Quick, shapes: ImageDataset) -> None:
    seen = prober(quick(**LABELLED), shapes).probe(reals_of(shapes), Judges(brightness), 1)
    assert seen.diversity == pytest.approx(1.0, abs=0.05)
    assert set(seen.class_diversity) == {"top", "middle", "low"}
    assert all(ratio == pytest.approx(1.0, abs=0.1) for ratio in seen.class_diversity.values())


def test_images_that_are_all_alike_have_no_diversity_and_are_duplicates(quick: Quick, shapes: ImageDataset) -> None:
    seen = prober(quick(**LABELLED), shapes).probe(FixedDraws(alike), Judges(brightness), 1)
    assert seen.diversity is not None
    assert seen.diversity < 0.01
    assert seen.duplicates == 1.0


def test_distinct_images_are_no_duplicates(quick: Quick, shapes: ImageDataset) -> None:
    def noise(z: Tensor, labels: Tensor | None) -> Tensor:
        return torch.rand(len(z), 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1

    assert prober(quick(**LABELLED), shapes).probe(FixedDraws(noise), Judges(brightness), 1).duplicates == 0.0


def test_one_class_that_is_alike_is_seen_beside_others_that_are_not(quick: Quick, shapes: ImageDataset) -> None:
    reals = reals_of(shapes)

    def draw(z: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        images: Tensor = reals(z, labels)
        images[labels == 1] = images[labels == 1][:1]
        return images

    seen = prober(quick(**LABELLED), shapes).probe(FixedDraws(draw), Judges(brightness), 1)
    assert seen.class_diversity["middle"] == 0.0
    assert min(seen.class_diversity["top"], seen.class_diversity["low"]) > 0.8


def test_what_lies_in_the_padding_is_not_looked_at(quick: Quick, shapes: ImageDataset) -> None:
    """The images are 12 x 14, padded to 16 x 16."""

    def draw(z: Tensor, labels: Tensor | None) -> Tensor:
        images = torch.zeros(len(z), 1, 16, 16)
        images[:, :, :2] = torch.linspace(-1, 1, len(z))[:, None, None, None]
        return images

    assert prober(quick(**LABELLED), shapes).probe(FixedDraws(draw), Judges(brightness), 1).diversity == 0.0


def test_a_d_that_hears_the_label_has_a_margin_and_a_deaf_one_has_none(quick: Quick, shapes: ImageDataset) -> None:
    images, spec = to_unit_range(shapes.images, 16), quick(**LABELLED)
    assert shapes.labels is not None
    patterns = torch.stack([images[shapes.labels == k].mean(0) for k in range(3)])

    def hears(images: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        return -(images - patterns[labels]).square().mean((1, 2, 3))

    seen = prober(spec, shapes).probe(reals_of(shapes), Judges(hears), 1)
    assert seen.conditioning_margin is not None
    assert seen.conditioning_margin > 0.1
    assert seen.conditioning_swing is not None
    assert seen.conditioning_swing > 1.0
    deaf = prober(spec, shapes).probe(reals_of(shapes), Judges(brightness), 1)
    assert (deaf.conditioning_margin, deaf.conditioning_swing) == (0.0, 0.0)
    contrary = prober(spec, shapes).probe(reals_of(shapes), Judges(lambda x, y: -hears(x, y)), 1)
    assert contrary.conditioning_margin == pytest.approx(-seen.conditioning_margin)


def test_of_a_class_head_the_margin_is_of_what_it_names(quick: Quick, shapes: ImageDataset) -> None:
    spec = quick(conditioning={"kind": "class_head", "generator": "concat"})

    def names(images: Tensor) -> Tensor:
        rows = images[:, 0].mean(2)
        return torch.stack([rows[:, 2 + 4 * k : 5 + 4 * k].mean(1) for k in range(3)], 1) * 9

    knows = prober(spec, shapes).probe(reals_of(shapes), Judges(brightness, names), 1)
    assert knows.conditioning_margin is not None
    assert knows.conditioning_margin > 1.0
    guesses = Judges(brightness, lambda images: torch.zeros(len(images), 3))
    assert prober(spec, shapes).probe(reals_of(shapes), guesses, 1).conditioning_margin == 0.0


@pytest.mark.parametrize("kind", ["non_saturating", "hinge"])
def test_a_d_that_knows_the_training_images_shows_a_gap(quick: Quick, held_out: ImageDataset, kind: str) -> None:
    known = {image.numpy().tobytes() for image in to_unit_range(held_out.images, 16)}
    data = replace(held_out, held_out=HeldOut(255 - held_out.images, held_out.labels))

    def by_heart(images: Tensor, labels: Tensor | None) -> Tensor:
        return torch.tensor([2.0 if image.numpy().tobytes() in known else -2.0 for image in images])

    spec = quick(loss={"kind": kind}, **LABELLED)
    gap = prober(spec, data).probe(reals_of(data), Judges(by_heart), 1).overfitting_gap
    assert gap is not None
    assert gap > 0.7
    fair = prober(spec, held_out).probe(reals_of(held_out), Judges(brightness), 1).overfitting_gap
    assert fair is not None
    assert abs(fair) < 0.3


def test_without_labels_or_held_out_images_nothing_is_said_of_them(quick: Quick, shapes: ImageDataset) -> None:
    bare = replace(shapes, labels=None, info=shapes.info.model_copy(update={"classes": ()}))
    seen = prober(quick(**PLAIN), bare).probe(reals_of(shapes), Judges(brightness), 1)
    assert (seen.conditioning_margin, seen.conditioning_swing, seen.overfitting_gap) == (None, None, None)
    assert seen.class_diversity == {}
    assert seen.diversity is not None


def test_reals_that_do_not_differ_are_no_measure(quick: Quick, shapes: ImageDataset) -> None:
    same = replace(shapes, images=torch.zeros_like(shapes.images))
    assert prober(quick(**LABELLED), same).probe(FixedDraws(alike), Judges(brightness), 1).diversity is None


def test_many_classes_are_represented_by_some(quick: Quick) -> None:
    images = torch.randint(0, 255, (200, 1, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    classes = tuple(DatasetClass(id=i, label=str(i), count=2) for i in range(100))
    info = DatasetInfo(name="many", num_images=200, channels=1, height=16, width=16, classes=classes)
    data = ImageDataset(info, images, torch.arange(100).repeat(2))
    seen = prober(quick(**LABELLED), data).probe(FixedDraws(alike), Judges(brightness), 1)
    assert len(seen.class_diversity) == 20


@pytest.mark.parametrize("preset", PRESETS)
def test_training_does_not_notice_a_probe(quick: Quick, held_out: ImageDataset, preset: str) -> None:
    spec = quick(preset=preset)
    G, D = build_networks(spec, held_out.info)
    # A module may be held in eval mode inside a network that trains.
    next(iter(D.children())).eval()
    before = {name: value.clone() for n in (G, D) for name, value in n.state_dict(prefix=f"{id(n)}.").items()}
    modes = [module.training for n in (G, D) for module in n.modules()]
    torch.manual_seed(7)
    untouched = torch.get_rng_state()
    look = prober(spec, held_out)
    first, second = look.probe(G, D, 3), look.probe(G, D, 3)
    after = {name: value for n in (G, D) for name, value in n.state_dict(prefix=f"{id(n)}.").items()}
    assert first == second
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert [module.training for n in (G, D) for module in n.modules()] == modes
    assert all(p.requires_grad and p.grad is None for n in (G, D) for p in n.parameters())
    assert torch.equal(torch.get_rng_state(), untouched)


def test_a_probe_is_plain_values_and_depends_on_the_step(quick: Quick, held_out: ImageDataset) -> None:
    look = prober(quick(**LABELLED), held_out)
    one, two = (look.probe(reals_of(held_out), Judges(brightness), step) for step in (1, 2))
    assert json.loads(json.dumps(asdict(one))) == asdict(one)
    assert one.diversity == two.diversity
    assert one.overfitting_gap != two.overfitting_gap


def test_modes_are_put_back_when_the_block_fails() -> None:
    network = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())
    network[1].eval()
    with pytest.raises(ZeroDivisionError), in_eval(network):
        assert not any(module.training for module in network.modules())
        raise ZeroDivisionError
    assert [module.training for module in network.modules()] == [True, True, False]
