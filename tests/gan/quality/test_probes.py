"""Probes: their measurements on images made for the purpose, and that they do not affect training."""

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
    """A G whose images are `draw(z, labels)`."""

    def __init__(self, draw: Callable[[Tensor, Tensor | None], Tensor]) -> None:
        super().__init__()
        self.draw = draw

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        return self.draw(z, labels)


class FixedDiscriminator(nn.Module):
    """A D with logits (N,) from `logits_of(images, labels)` and, if given, class logits from `class_logits_of`."""

    def __init__(
        self,
        logits_of: Callable[[Tensor, Tensor | None], Tensor],
        class_logits_of: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.logits_of, self.class_logits_of = logits_of, class_logits_of

    def outputs(self, images: Tensor, labels: Tensor | None) -> DiscriminatorOutput:
        class_logits = None if self.class_logits_of is None else self.class_logits_of(images)
        return DiscriminatorOutput(self.logits_of(images, labels), class_logits, images.flatten(1))

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        return self.outputs(images, labels).logits


def brightness(images: Tensor, labels: Tensor | None) -> Tensor:
    """Return logits that ignore the labels."""
    return images.mean((1, 2, 3))


def reals_of(data: ImageDataset) -> FixedDraws:
    """Return a G that draws real images of the given class."""
    images = to_unit_range(data.images, 16)
    assert data.labels is not None
    members = [images[data.labels == k] for k in range(3)]

    def draw(z: Tensor, labels: Tensor | None) -> Tensor:
        ids = torch.zeros(len(z), dtype=torch.int64) if labels is None else labels
        return torch.stack([members[int(k)][i % len(members[int(k)])] for i, k in enumerate(ids)])

    return FixedDraws(draw)


def nearly_identical(z: Tensor, labels: Tensor | None) -> Tensor:
    """Return images that are nearly identical within each class."""
    ids = torch.zeros(len(z)) if labels is None else labels.float()
    return (ids / 3)[:, None, None, None].expand(-1, 1, 16, 16) + 1e-4 * z[:, :1, None, None]


@pytest.fixture
def held_out(shapes: ImageDataset) -> ImageDataset:
    """Return `shapes` with every second image as a held-out image, too."""
    assert shapes.labels is not None
    return replace(shapes, held_out=HeldOut(shapes.images[::2], shapes.labels[::2]))


def prober(spec: TrainSpec, data: ImageDataset) -> Prober:
    """Return the prober of `spec` on `data`."""
    return Prober(spec, data)


def test_real_images_have_a_diversity_of_one(quick: Quick, shapes: ImageDataset) -> None:
    probe = prober(quick(**LABELLED), shapes).probe(reals_of(shapes), FixedDiscriminator(brightness), 1)
    assert probe.diversity == pytest.approx(1.0, abs=0.05)
    assert set(probe.class_diversity) == {"top", "middle", "low"}
    assert all(ratio == pytest.approx(1.0, abs=0.1) for ratio in probe.class_diversity.values())


def test_nearly_identical_images_have_no_diversity_and_are_duplicates(quick: Quick, shapes: ImageDataset) -> None:
    probe = prober(quick(**LABELLED), shapes).probe(FixedDraws(nearly_identical), FixedDiscriminator(brightness), 1)
    assert probe.diversity is not None
    assert probe.diversity < 0.01
    assert probe.duplicates == 1.0


def test_different_images_are_not_duplicates(quick: Quick, shapes: ImageDataset) -> None:
    def noise(z: Tensor, labels: Tensor | None) -> Tensor:
        return torch.rand(len(z), 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1

    assert (
        prober(quick(**LABELLED), shapes).probe(FixedDraws(noise), FixedDiscriminator(brightness), 1).duplicates
        == 0.0
    )


def test_the_diversity_of_one_collapsed_class_is_zero(quick: Quick, shapes: ImageDataset) -> None:
    reals = reals_of(shapes)

    def draw(z: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        images: Tensor = reals(z, labels)
        images[labels == 1] = images[labels == 1][:1]
        return images

    probe = prober(quick(**LABELLED), shapes).probe(FixedDraws(draw), FixedDiscriminator(brightness), 1)
    assert probe.class_diversity["middle"] == 0.0
    assert min(probe.class_diversity["top"], probe.class_diversity["low"]) > 0.8


def test_the_padding_is_ignored(quick: Quick, shapes: ImageDataset) -> None:
    """The images are 12 x 14, padded to 16 x 16."""

    def draw(z: Tensor, labels: Tensor | None) -> Tensor:
        images = torch.zeros(len(z), 1, 16, 16)
        images[:, :, :2] = torch.linspace(-1, 1, len(z))[:, None, None, None]
        return images

    assert (
        prober(quick(**LABELLED), shapes).probe(FixedDraws(draw), FixedDiscriminator(brightness), 1).diversity == 0.0
    )


def test_only_a_d_that_uses_the_label_has_a_margin(quick: Quick, shapes: ImageDataset) -> None:
    images, spec = to_unit_range(shapes.images, 16), quick(**LABELLED)
    assert shapes.labels is not None
    patterns = torch.stack([images[shapes.labels == k].mean(0) for k in range(3)])

    def uses_label(images: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        return -(images - patterns[labels]).square().mean((1, 2, 3))

    probe = prober(spec, shapes).probe(reals_of(shapes), FixedDiscriminator(uses_label), 1)
    assert probe.conditioning_margin is not None
    assert probe.conditioning_margin > 0.1
    assert probe.conditioning_swing is not None
    assert probe.conditioning_swing > 1.0
    ignores_label = prober(spec, shapes).probe(reals_of(shapes), FixedDiscriminator(brightness), 1)
    assert (ignores_label.conditioning_margin, ignores_label.conditioning_swing) == (0.0, 0.0)
    negated = prober(spec, shapes).probe(reals_of(shapes), FixedDiscriminator(lambda x, y: -uses_label(x, y)), 1)
    assert negated.conditioning_margin == pytest.approx(-probe.conditioning_margin)


def test_with_a_class_head_the_margin_is_that_of_its_prediction(quick: Quick, shapes: ImageDataset) -> None:
    spec = quick(conditioning={"kind": "class_head", "generator": "concat"})

    def class_logits(images: Tensor) -> Tensor:
        rows = images[:, 0].mean(2)
        return torch.stack([rows[:, 2 + 4 * k : 5 + 4 * k].mean(1) for k in range(3)], 1) * 9

    predicts = prober(spec, shapes).probe(reals_of(shapes), FixedDiscriminator(brightness, class_logits), 1)
    assert predicts.conditioning_margin is not None
    assert predicts.conditioning_margin > 1.0
    uniform = FixedDiscriminator(brightness, lambda images: torch.zeros(len(images), 3))
    assert prober(spec, shapes).probe(reals_of(shapes), uniform, 1).conditioning_margin == 0.0


@pytest.mark.parametrize("kind", ["non_saturating", "hinge"])
def test_a_d_that_memorised_the_training_images_has_a_gap(quick: Quick, held_out: ImageDataset, kind: str) -> None:
    training_images = {image.numpy().tobytes() for image in to_unit_range(held_out.images, 16)}
    data = replace(held_out, held_out=HeldOut(255 - held_out.images, held_out.labels))

    def memorised(images: Tensor, labels: Tensor | None) -> Tensor:
        return torch.tensor([2.0 if image.numpy().tobytes() in training_images else -2.0 for image in images])

    spec = quick(loss={"kind": kind}, **LABELLED)
    gap = prober(spec, data).probe(reals_of(data), FixedDiscriminator(memorised), 1).overfitting_gap
    assert gap is not None
    assert gap > 0.7
    unbiased = prober(spec, held_out).probe(reals_of(held_out), FixedDiscriminator(brightness), 1).overfitting_gap
    assert unbiased is not None
    assert abs(unbiased) < 0.3


def test_without_labels_or_held_out_images_their_measurements_are_none(quick: Quick, shapes: ImageDataset) -> None:
    bare = replace(shapes, labels=None, info=shapes.info.model_copy(update={"classes": ()}))
    probe = prober(quick(**PLAIN), bare).probe(reals_of(shapes), FixedDiscriminator(brightness), 1)
    assert (probe.conditioning_margin, probe.conditioning_swing, probe.overfitting_gap) == (None, None, None)
    assert probe.class_diversity == {}
    assert probe.diversity is not None


def test_identical_reals_give_neither_diversity_nor_duplicates(quick: Quick, shapes: ImageDataset) -> None:
    same = replace(shapes, images=torch.zeros_like(shapes.images))
    found = prober(quick(**LABELLED), same).probe(FixedDraws(nearly_identical), FixedDiscriminator(brightness), 1)
    assert (found.diversity, found.duplicates) == (None, None)


def test_the_grid_has_some_of_many_classes_only(quick: Quick) -> None:
    images = torch.randint(0, 255, (200, 1, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    classes = tuple(DatasetClass(id=i, label=str(i), count=2) for i in range(100))
    info = DatasetInfo(name="many", num_images=200, channels=1, height=16, width=16, classes=classes)
    data = ImageDataset(info, images, torch.arange(100).repeat(2))
    probe = prober(quick(**LABELLED), data).probe(FixedDraws(nearly_identical), FixedDiscriminator(brightness), 1)
    assert len(probe.class_diversity) == 20


@pytest.mark.parametrize("preset", PRESETS)
def test_a_probe_does_not_affect_training(quick: Quick, held_out: ImageDataset, preset: str) -> None:
    spec = quick(preset=preset)
    G, D = build_networks(spec, held_out.info)
    # A module of a training network may be in eval mode.
    next(iter(D.children())).eval()
    before = {name: value.clone() for n in (G, D) for name, value in n.state_dict(prefix=f"{id(n)}.").items()}
    modes = [module.training for n in (G, D) for module in n.modules()]
    torch.manual_seed(7)
    untouched = torch.get_rng_state()
    fixed_prober = prober(spec, held_out)
    first, second = fixed_prober.probe(G, D, 3), fixed_prober.probe(G, D, 3)
    after = {name: value for n in (G, D) for name, value in n.state_dict(prefix=f"{id(n)}.").items()}
    assert first == second
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert [module.training for n in (G, D) for module in n.modules()] == modes
    assert all(p.requires_grad and p.grad is None for n in (G, D) for p in n.parameters())
    assert torch.equal(torch.get_rng_state(), untouched)


def test_a_probe_can_be_written_to_json_and_depends_on_the_step(quick: Quick, held_out: ImageDataset) -> None:
    fixed_prober = prober(quick(**LABELLED), held_out)
    one, two = (fixed_prober.probe(reals_of(held_out), FixedDiscriminator(brightness), step) for step in (1, 2))
    assert json.loads(json.dumps(asdict(one))) == asdict(one)
    assert one.diversity == two.diversity
    assert one.overfitting_gap != two.overfitting_gap


def test_modes_are_restored_after_an_exception() -> None:
    network = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())
    network[1].eval()
    with pytest.raises(ZeroDivisionError), in_eval(network):
        assert not any(module.training for module in network.modules())
        raise ZeroDivisionError
    assert [module.training for module in network.modules()] == [True, True, False]
