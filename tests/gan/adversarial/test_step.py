"""Updates of D and of G: which weights and buffers change, which are frozen, and which updates are skipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from gan.adversarial.augment import augment
from gan.adversarial.networks import trained_networks
from gan.adversarial.step import (
    D_METRICS,
    G_METRICS,
    AdversarialStep,
    ScheduledValues,
    d_metrics,
    feature_distance,
)
from gan.architectures import build_networks
from gan.architectures.discriminator import Discriminator
from gan.data import ImageDataset
from gan.frozen import frozen
from gan.randomness import Draws
from gan.spec import TrainSpec, image_size
from gan.spec.fields import Augmentation
from gan.spec.presets import PRESETS

Quick = Callable[..., TrainSpec]
Z, LABELS = torch.randn(6, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, 2])
REAL = torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
EVERY_PRESET = pytest.mark.parametrize("preset", PRESETS)


def build_step(spec: TrainSpec, data: ImageDataset, bf16: bool = False) -> AdversarialStep:
    """Return the updates of new networks for `spec`."""
    G, D = build_networks(spec, data.info)
    return AdversarialStep(*trained_networks(G, D, spec), spec, Draws(torch.Generator().manual_seed(5)), bf16=bf16)


def scheduled(spec: TrainSpec) -> ScheduledValues:
    """Return the scheduled values at the start of a run."""
    return ScheduledValues(spec.stabilizers.instance_noise, tuple(p.weight for p in spec.penalties))


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of all parameters and buffers, by name."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def changed(network: nn.Module, before: dict[str, Tensor]) -> set[str]:
    """Return the names of the parameters and buffers that differ from `before`."""
    return {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}


def real_for(data: ImageDataset, spec: TrainSpec) -> Tensor:
    """Return `REAL` at the image size of `spec`."""
    side = image_size(spec, data.info)
    return REAL[:, :, :side, :side].clone()


def labels_of(spec: TrainSpec) -> Tensor | None:
    """Return `LABELS`, or None for an unconditional spec."""
    return LABELS if spec.conditional else None


def d_step(step: AdversarialStep, real: Tensor = REAL) -> Tensor:
    """Update D once. Return `d_metrics`."""
    return step.d_step(real.clone(), labels_of(step.spec), Z, scheduled(step.spec))


def g_step(step: AdversarialStep, real: Tensor = REAL, z: Tensor = Z) -> Tensor:
    """Update G once. Return `G_METRICS`."""
    reals = real.clone() if step.spec.g_sees_reals else None
    return step.g_step(z, labels_of(step.spec), scheduled(step.spec), reals)


@EVERY_PRESET
def test_an_update_of_d_leaves_g_and_its_buffers_bit_identical(
    quick: Quick, shapes: ImageDataset, preset: str
) -> None:
    step = build_step(spec := quick(preset=preset), shapes)
    g, d = snapshot(step.g.network), snapshot(step.d.network)
    metrics = d_step(step, real_for(shapes, spec))
    assert metrics.shape == (len(d_metrics(spec)),)
    assert torch.isfinite(metrics).all()
    assert changed(step.g.network, g) == set()
    assert changed(step.d.network, d) != set()
    assert all(p.grad is None for p in step.g.network.parameters())


@EVERY_PRESET
def test_an_update_of_g_leaves_d_and_its_buffers_bit_identical(
    quick: Quick, shapes: ImageDataset, preset: str
) -> None:
    step = build_step(spec := quick(preset=preset), shapes)
    g, d = snapshot(step.g.network), snapshot(step.d.network)
    metrics = g_step(step, real_for(shapes, spec))
    assert metrics.shape == (len(G_METRICS),)
    assert changed(step.d.network, d) == set()
    assert changed(step.g.network, g) != set()
    assert all(p.grad is None for p in step.d.network.parameters())


@EVERY_PRESET
def test_measuring_changes_nothing(quick: Quick, shapes: ImageDataset, preset: str) -> None:
    step = build_step(spec := quick(preset=preset), shapes)
    real = real_for(shapes, spec)
    g, d = snapshot(step.g.network), snapshot(step.d.network)
    of_d = step.measure_d(real.clone(), labels_of(spec), Z, scheduled(spec))
    of_g = step.measure_g(Z, labels_of(spec), scheduled(spec), real.clone() if spec.g_sees_reals else None)
    assert of_d.shape == (len(d_metrics(spec)),) and of_g.shape == (len(G_METRICS),)
    assert torch.isfinite(of_d).all() and torch.isfinite(of_g).all()
    assert changed(step.g.network, g) == changed(step.d.network, d) == set()


def test_an_update_changes_every_parameter_of_its_network(quick: Quick, shapes: ImageDataset) -> None:
    step = build_step(quick(), shapes)
    g, d = snapshot(step.g.network), snapshot(step.d.network)
    d_step(step), g_step(step)
    assert {name for name, _ in step.d.network.named_parameters()} <= changed(step.d.network, d)
    assert {name for name, _ in step.g.network.named_parameters()} <= changed(step.g.network, g)


def test_an_update_changes_the_batch_statistics_of_its_network(quick: Quick, shapes: ImageDataset) -> None:
    step = build_step(quick(), shapes)
    g, d = snapshot(step.g.network), snapshot(step.d.network)
    d_step(step)
    # Reals and fakes are two batches for D.
    assert {int(b) for n, b in step.d.network.named_buffers() if n.endswith("num_batches_tracked")} == {2}
    assert {n for n in d if "running" in n} <= changed(step.d.network, d)
    g_step(step)
    assert {n for n in g if "running" in n} <= changed(step.g.network, g)


def test_an_update_iterates_the_spectral_norm_of_its_network_only(quick: Quick, shapes: ImageDataset) -> None:
    step = build_step(quick(discriminator={"spectral_norm": True, "normalization": "none"}), shapes)
    directions = {name for name, _ in step.d.network.named_buffers() if name.endswith(("_u", "_v"))}
    assert directions
    before = snapshot(step.d.network)
    g_step(step)
    assert changed(step.d.network, before) == set()
    # For the first weights the vectors are exact to the last bit; after the first update they are not.
    d_step(step), d_step(step)
    assert directions & changed(step.d.network, before)


def test_a_frozen_network_computes_as_in_training(quick: Quick, shapes: ImageDataset) -> None:
    G, _ = build_networks(quick(), shapes.info)
    with frozen(G):
        inside = G(Z, LABELS)
    assert not inside.requires_grad
    assert torch.equal(inside, G(Z, LABELS))
    assert not torch.equal(inside, G.eval()(Z, LABELS))


def test_a_network_is_no_longer_frozen_after_an_exception(quick: Quick, shapes: ImageDataset) -> None:
    G, _ = build_networks(quick(), shapes.info)
    with pytest.raises(ZeroDivisionError), frozen(G):
        raise ZeroDivisionError
    before = snapshot(G)
    assert all(p.requires_grad for p in G.parameters())
    G(Z, LABELS)
    assert {n for n in before if "running" in n} <= changed(G, before)


def test_the_metrics_are_those_of_the_networks(quick: Quick, shapes: ImageDataset) -> None:
    step = build_step(quick(), shapes)
    G, D = step.g.network, step.d.network
    with frozen(G), frozen(D):
        real_logits, fake_logits = D(REAL, LABELS), D(G(Z, LABELS), LABELS)
    metrics = dict(zip(D_METRICS, d_step(step).tolist(), strict=True))
    assert metrics["real_logit"] == pytest.approx(real_logits.mean().item(), abs=1e-6)
    assert metrics["fake_logit"] == pytest.approx(fake_logits.mean().item(), abs=1e-6)
    assert metrics["real_score"] == pytest.approx(real_logits.sigmoid().mean().item(), abs=1e-6)
    assert metrics["fake_score"] == pytest.approx(fake_logits.sigmoid().mean().item(), abs=1e-6)
    assert metrics["loss_d"] == pytest.approx(step.loss.d(real_logits, fake_logits).item(), abs=1e-5)
    assert (metrics["penalty_d"], metrics["class_loss_d"]) == (0.0, 0.0)
    norm = torch.stack([p.grad.norm() for p in D.parameters() if p.grad is not None]).norm()
    assert metrics["grad_norm_d"] == pytest.approx(norm.item(), rel=1e-5)


LOSS_CHANGES: list[dict[str, Any]] = [
    {"loss": {"kind": "minimax"}},
    {"loss": {"kind": "non_saturating"}},
    {"loss": {"kind": "least_squares"}},
    {"loss": {"kind": "wasserstein"}, "stabilizers": {"weight_clip": 0.1}},
    {"loss": {"kind": "hinge"}},
    {"loss": {"kind": "relativistic"}},
]


@pytest.mark.parametrize("changes", LOSS_CHANGES, ids=lambda changes: changes["loss"]["kind"])
def test_each_network_lowers_its_own_loss(quick: Quick, shapes: ImageDataset, changes: dict[str, Any]) -> None:
    step = build_step(quick(optimizers={"g": {"learning_rate": 2e-3}}, **changes), shapes)
    d = [d_step(step)[0].item() for _ in range(30)]
    assert d[-1] < d[0] - 0.1
    g = [g_step(step)[0].item() for _ in range(30)]
    assert g[-1] < g[0]


@pytest.mark.parametrize(("kind", "count"), [("gradient_penalty", 1), ("r1", 1), ("r2", 1), ("r1 r2", 2)])
def test_a_penalty_is_measured_and_changes_the_gradient_of_d(
    quick: Quick, shapes: ImageDataset, kind: str, count: int
) -> None:
    def slope(weight: float) -> tuple[float, float]:
        """Return the first penalty and the mean gradient norm after training with `weight`."""
        penalties = [{"kind": name, "weight": weight} for name in kind.split()]
        step = build_step(quick(discriminator={"normalization": "none"}, penalties=penalties), shapes)
        assert len(step.spec.penalties) == count
        penalty = [d_step(step)[D_METRICS.index("penalty_d")].item() for _ in range(40)]
        x = REAL.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(step.d.network(x, LABELS).sum(), x)
        return penalty[0], gradient.flatten(1).norm(dim=1).mean().item()

    (weak_penalty, weak), (strong_penalty, strong) = slope(1e-4), slope(100.0)
    assert 0 < weak_penalty < strong_penalty
    assert abs(strong - (kind == "gradient_penalty")) < abs(weak - (kind == "gradient_penalty"))


@pytest.mark.parametrize("kind", ["r1", "r2"])
def test_r1_and_r2_are_taken_on_the_images_before_the_augmentation(
    quick: Quick, shapes: ImageDataset, kind: str
) -> None:
    kinds: tuple[Augmentation, ...] = ("color", "translation", "cutout")
    spec = quick(
        discriminator={"normalization": "none"},
        penalties=[{"kind": kind, "weight": 3.0}],
        stabilizers={"augmentation": kinds},
    )
    step = build_step(spec, shapes)
    G, D = step.g.network, step.d.network
    # The step augments the reals first, then the fakes.
    draws = Draws(torch.Generator().manual_seed(5))
    with frozen(G):
        batches = {"r1": REAL.clone(), "r2": G(Z, LABELS)}
    images = {name: batch.requires_grad_() for name, batch in batches.items()}
    augmented = {name: augment(batch, kinds, 0.0, draws) for name, batch in images.items()}
    logits = D(augmented[kind], LABELS)
    squared = {
        where: torch.autograd.grad(logits.sum(), tensor, retain_graph=True)[0].square().sum((1, 2, 3)).mean().item()
        for where, tensor in (("before", images[kind]), ("after", augmented[kind]))
    }
    penalty = d_step(step)[D_METRICS.index("penalty_d")].item()
    assert penalty == pytest.approx(3.0 / 2 * squared["before"], rel=1e-5)
    assert abs(squared["after"] / squared["before"] - 1) > 0.05


def test_weights_are_clipped_after_the_step(quick: Quick, shapes: ImageDataset) -> None:
    step = build_step(quick(loss={"kind": "wasserstein"}, stabilizers={"weight_clip": 0.01}), shapes)
    d_step(step)
    assert max(p.abs().max().item() for p in step.d.network.parameters()) <= 0.01
    assert max(p.abs().max().item() for p in step.g.network.parameters()) > 0.01


def test_feature_matching_compares_batch_means_not_single_images() -> None:
    reals = torch.tensor([[0.0, 2.0], [4.0, 6.0]])
    # The means are equal, so the distance is 0.
    assert feature_distance(reals, torch.tensor([[2.0, 4.0], [2.0, 4.0]])).item() == 0.0
    assert feature_distance(reals, torch.tensor([[3.0, 4.0], [3.0, 6.0]])).item() == pytest.approx(1.0 + 1.0)


def test_feature_matching_reduces_the_distance_of_the_means(quick: Quick, shapes: ImageDataset) -> None:
    stabilizers = {"feature_matching": True}
    step = build_step(quick(stabilizers=stabilizers, optimizers={"g": {"learning_rate": 2e-3}}), shapes)
    G, D = step.g.network, cast(Discriminator, step.d.network)

    def distance() -> float:
        with frozen(G), frozen(D):
            real_output, fake_output = D.outputs(REAL, LABELS), D.outputs(G(Z, LABELS), LABELS)
        return feature_distance(real_output.features, fake_output.features).item()

    first = distance()
    assert g_step(step)[0].item() == pytest.approx(first, rel=1e-4)
    for _ in range(20):
        g_step(step)
    assert distance() < first / 2


def test_the_class_head_learns_the_classes(quick: Quick, shapes: ImageDataset) -> None:
    step = build_step(quick(conditioning={"kind": "class_head"}), shapes)
    column = D_METRICS.index("class_loss_d")
    losses = [d_step(step)[column].item() for _ in range(40)]
    assert losses[-1] < losses[0] / 2
    assert losses[0] == pytest.approx(2 * torch.tensor(3.0).log().item(), rel=0.6)


def test_historical_averaging_slows_the_weights_down(quick: Quick, shapes: ImageDataset) -> None:
    def distance(weight: float) -> float:
        """Return how far the weights of D move in 20 updates."""
        step = build_step(quick(stabilizers={"historical_averaging": weight}), shapes)
        before = torch.cat([p.detach().flatten() for p in step.d.network.parameters()]).clone()
        for _ in range(20):
            d_step(step)
        after = torch.cat([p.detach().flatten() for p in step.d.network.parameters()])
        return float((after - before).norm())

    assert distance(100.0) < distance(0.0) / 2


def test_noise_changes_the_updates_of_d_and_of_g(quick: Quick, shapes: ImageDataset) -> None:
    spec = quick(stabilizers={"instance_noise": 0.5})
    noisy, plain = build_step(spec, shapes), build_step(spec, shapes)
    assert not torch.equal(d_step(noisy), plain.d_step(REAL.clone(), LABELS, Z, ScheduledValues()))
    assert not torch.equal(g_step(noisy), plain.g_step(Z, LABELS, ScheduledValues()))


def test_bf16_computes_in_bf16_and_keeps_weights_and_losses_in_fp32(quick: Quick, shapes: ImageDataset) -> None:
    step, plain = build_step(quick(), shapes, bf16=True), build_step(quick(), shapes)
    rounded, exact = d_step(step), d_step(plain)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert rounded[0].item() == pytest.approx(exact[0].item(), abs=0.05)
    g_step(step)
    weights = [*step.g.network.parameters(), *step.d.network.parameters()]
    assert {p.dtype for p in weights} == {torch.float32}


def test_penalties_are_in_fp32_under_bf16(quick: Quick, shapes: ImageDataset) -> None:
    changes = {
        "discriminator": {"normalization": "none"},
        "penalties": [{"kind": "gradient_penalty", "weight": 10.0}],
    }
    column = D_METRICS.index("penalty_d")
    rounded, exact = (
        d_step(build_step(quick(**changes), shapes, bf16=bf16))[column].item() for bf16 in (True, False)
    )
    assert rounded == pytest.approx(exact, rel=1e-3)


@EVERY_PRESET
def test_an_update_that_is_not_finite_changes_neither_weights_nor_buffers(
    quick: Quick, shapes: ImageDataset, preset: str
) -> None:
    step = build_step(spec := quick(preset=preset), shapes)
    real = real_for(shapes, spec)
    d_step(step, real), g_step(step, real)
    g, d = snapshot(step.g.network), snapshot(step.d.network)
    assert not torch.isfinite(d_step(step, torch.full_like(real, float("nan")))).all()
    assert not torch.isfinite(g_step(step, real, torch.full_like(Z, float("nan")))).all()
    assert changed(step.d.network, d) == changed(step.g.network, g) == set()
