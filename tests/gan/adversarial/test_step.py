"""One move of each player: who moves, who is held still, and what is vetoed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from gan.adversarial.networks import trained_networks
from gan.adversarial.step import D_METRICS, G_METRICS, AdversarialStep, ScheduledValues, feature_distance
from gan.architectures import build_networks
from gan.architectures.discriminator import Discriminator
from gan.data import ImageDataset
from gan.frozen import frozen
from gan.randomness import Draws
from gan.spec import TrainSpec, image_size
from gan.spec.presets import PRESETS

Quick = Callable[..., TrainSpec]
Z, LABELS = torch.randn(6, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, 2])
REAL = torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
EVERY_PRESET = pytest.mark.parametrize("preset", PRESETS)


def adversarial(spec: TrainSpec, data: ImageDataset, bf16: bool = False) -> AdversarialStep:
    G, D = build_networks(spec, data.info)
    return AdversarialStep(*trained_networks(G, D, spec), spec, Draws(torch.Generator().manual_seed(5)), bf16=bf16)


def scheduled(spec: TrainSpec) -> ScheduledValues:
    return ScheduledValues(spec.stabilizers.instance_noise, tuple(p.weight for p in spec.penalties))


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def changed(network: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}


def real_for(data: ImageDataset, spec: TrainSpec) -> Tensor:
    side = image_size(spec, data.info)
    return REAL[:, :, :side, :side].clone()


def labels_of(spec: TrainSpec) -> Tensor | None:
    return LABELS if spec.conditional else None


def d_step(played: AdversarialStep, real: Tensor = REAL) -> Tensor:
    return played.d_step(real.clone(), labels_of(played.spec), Z, scheduled(played.spec))


def g_step(played: AdversarialStep, real: Tensor = REAL, z: Tensor = Z) -> Tensor:
    reals = real.clone() if played.spec.g_sees_reals else None
    return played.g_step(z, labels_of(played.spec), scheduled(played.spec), reals)


@EVERY_PRESET
def test_d_moves_and_g_with_its_buffers_is_bit_identical(quick: Quick, shapes: ImageDataset, preset: str) -> None:
    played = adversarial(spec := quick(preset=preset), shapes)
    g, d = snapshot(played.g.network), snapshot(played.d.network)
    metrics = d_step(played, real_for(shapes, spec))
    assert metrics.shape == (len(D_METRICS),)
    assert torch.isfinite(metrics).all()
    assert changed(played.g.network, g) == set()
    assert changed(played.d.network, d) != set()
    assert all(p.grad is None for p in played.g.network.parameters())


@EVERY_PRESET
def test_g_moves_and_d_with_its_buffers_is_bit_identical(quick: Quick, shapes: ImageDataset, preset: str) -> None:
    played = adversarial(spec := quick(preset=preset), shapes)
    g, d = snapshot(played.g.network), snapshot(played.d.network)
    metrics = g_step(played, real_for(shapes, spec))
    assert metrics.shape == (len(G_METRICS),)
    assert changed(played.d.network, d) == set()
    assert changed(played.g.network, g) != set()
    assert all(p.grad is None for p in played.d.network.parameters())


@EVERY_PRESET
def test_to_measure_moves_nobody(quick: Quick, shapes: ImageDataset, preset: str) -> None:
    played = adversarial(spec := quick(preset=preset), shapes)
    real = real_for(shapes, spec)
    g, d = snapshot(played.g.network), snapshot(played.d.network)
    of_d = played.measure_d(real.clone(), labels_of(spec), Z, scheduled(spec))
    of_g = played.measure_g(Z, labels_of(spec), scheduled(spec), real.clone() if spec.g_sees_reals else None)
    assert of_d.shape == (len(D_METRICS),) and of_g.shape == (len(G_METRICS),)
    assert torch.isfinite(of_d).all() and torch.isfinite(of_g).all()
    assert changed(played.g.network, g) == changed(played.d.network, d) == set()


def test_every_parameter_of_who_moves_moves(quick: Quick, shapes: ImageDataset) -> None:
    played = adversarial(quick(), shapes)
    g, d = snapshot(played.g.network), snapshot(played.d.network)
    d_step(played), g_step(played)
    assert {name for name, _ in played.d.network.named_parameters()} <= changed(played.d.network, d)
    assert {name for name, _ in played.g.network.named_parameters()} <= changed(played.g.network, g)


def test_who_moves_keeps_its_batch_statistics(quick: Quick, shapes: ImageDataset) -> None:
    played = adversarial(quick(), shapes)
    g, d = snapshot(played.g.network), snapshot(played.d.network)
    d_step(played)
    # Reals and fakes are two batches to D.
    assert {int(b) for n, b in played.d.network.named_buffers() if n.endswith("num_batches_tracked")} == {2}
    assert {n for n in d if "running" in n} <= changed(played.d.network, d)
    g_step(played)
    assert {n for n in g if "running" in n} <= changed(played.g.network, g)


def test_who_moves_iterates_its_spectral_norm_and_who_does_not_keeps_it(quick: Quick, shapes: ImageDataset) -> None:
    played = adversarial(quick(discriminator={"spectral_norm": True, "normalization": "none"}), shapes)
    directions = {name for name, _ in played.d.network.named_buffers() if name.endswith(("_u", "_v"))}
    assert directions
    before = snapshot(played.d.network)
    g_step(played)
    assert changed(played.d.network, before) == set()
    # Of the first weights the direction is known to the last bit; of those that the first update makes it is not.
    d_step(played), d_step(played)
    assert directions & changed(played.d.network, before)


def test_held_still_computes_as_in_training(quick: Quick, shapes: ImageDataset) -> None:
    G, _ = build_networks(quick(), shapes.info)
    with frozen(G):
        inside = G(Z, LABELS)
    assert not inside.requires_grad
    assert torch.equal(inside, G(Z, LABELS))
    assert not torch.equal(inside, G.eval()(Z, LABELS))


def test_held_still_ends_when_the_block_fails(quick: Quick, shapes: ImageDataset) -> None:
    G, _ = build_networks(quick(), shapes.info)
    with pytest.raises(ZeroDivisionError), frozen(G):
        raise ZeroDivisionError
    before = snapshot(G)
    assert all(p.requires_grad for p in G.parameters())
    G(Z, LABELS)
    assert {n for n in before if "running" in n} <= changed(G, before)


def test_the_metrics_are_what_the_networks_say(quick: Quick, shapes: ImageDataset) -> None:
    played = adversarial(quick(), shapes)
    G, D = played.g.network, played.d.network
    with frozen(G), frozen(D):
        real_logits, fake_logits = D(REAL, LABELS), D(G(Z, LABELS), LABELS)
    seen = dict(zip(D_METRICS, d_step(played).tolist(), strict=True))
    assert seen["real_logit"] == pytest.approx(real_logits.mean().item(), abs=1e-6)
    assert seen["fake_logit"] == pytest.approx(fake_logits.mean().item(), abs=1e-6)
    assert seen["loss_d"] == pytest.approx(played.loss.d(real_logits, fake_logits).item(), abs=1e-5)
    assert (seen["penalty_d"], seen["class_loss_d"]) == (0.0, 0.0)
    norm = torch.stack([p.grad.norm() for p in D.parameters() if p.grad is not None]).norm()
    assert seen["grad_norm_d"] == pytest.approx(norm.item(), rel=1e-5)


GAMES: list[dict[str, Any]] = [
    {"loss": {"kind": "minimax"}},
    {"loss": {"kind": "non_saturating"}},
    {"loss": {"kind": "least_squares"}},
    {"loss": {"kind": "wasserstein"}, "stabilizers": {"weight_clip": 0.1}},
    {"loss": {"kind": "hinge"}},
    {"loss": {"kind": "relativistic"}},
]


@pytest.mark.parametrize("changes", GAMES, ids=lambda changes: changes["loss"]["kind"])
def test_each_player_gets_better_at_its_own_game(quick: Quick, shapes: ImageDataset, changes: dict[str, Any]) -> None:
    played = adversarial(quick(optimizers={"g": {"learning_rate": 2e-3}}, **changes), shapes)
    d = [d_step(played)[0].item() for _ in range(30)]
    assert d[-1] < d[0] - 0.1
    g = [g_step(played)[0].item() for _ in range(30)]
    assert g[-1] < g[0]


@pytest.mark.parametrize(("kind", "count"), [("gradient_penalty", 1), ("r1", 1), ("r2", 1), ("r1 r2", 2)])
def test_a_penalty_is_told_and_pulls_ds_gradient(quick: Quick, shapes: ImageDataset, kind: str, count: int) -> None:
    def slope(weight: float) -> tuple[float, float]:
        penalties = [{"kind": name, "weight": weight} for name in kind.split()]
        played = adversarial(quick(discriminator={"normalization": "none"}, penalties=penalties), shapes)
        assert len(played.spec.penalties) == count
        told = [d_step(played)[D_METRICS.index("penalty_d")].item() for _ in range(40)]
        x = REAL.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(played.d.network(x, LABELS).sum(), x)
        return told[0], gradient.flatten(1).norm(dim=1).mean().item()

    (weak_told, weak), (strong_told, strong) = slope(1e-4), slope(100.0)
    assert 0 < weak_told < strong_told
    assert abs(strong - (kind == "gradient_penalty")) < abs(weak - (kind == "gradient_penalty"))


def test_weights_are_clipped_after_the_step(quick: Quick, shapes: ImageDataset) -> None:
    played = adversarial(quick(loss={"kind": "wasserstein"}, stabilizers={"weight_clip": 0.01}), shapes)
    d_step(played)
    assert max(p.abs().max().item() for p in played.d.network.parameters()) <= 0.01
    assert max(p.abs().max().item() for p in played.g.network.parameters()) > 0.01


def test_feature_matching_is_of_batch_means_not_of_single_images() -> None:
    reals = torch.tensor([[0.0, 2.0], [4.0, 6.0]])
    # The same mean in another order and spread: no distance at all.
    assert feature_distance(reals, torch.tensor([[2.0, 4.0], [2.0, 4.0]])).item() == 0.0
    assert feature_distance(reals, torch.tensor([[3.0, 4.0], [3.0, 6.0]])).item() == pytest.approx(1.0 + 1.0)


def test_feature_matching_brings_the_means_together(quick: Quick, shapes: ImageDataset) -> None:
    stabilizers = {"feature_matching": True}
    played = adversarial(quick(stabilizers=stabilizers, optimizers={"g": {"learning_rate": 2e-3}}), shapes)
    G, D = played.g.network, cast(Discriminator, played.d.network)

    def distance() -> float:
        with frozen(G), frozen(D):
            of_real, of_fake = D.outputs(REAL, LABELS), D.outputs(G(Z, LABELS), LABELS)
        return feature_distance(of_real.features, of_fake.features).item()

    first = distance()
    assert g_step(played)[0].item() == pytest.approx(first, rel=1e-4)
    for _ in range(20):
        g_step(played)
    assert distance() < first / 2


def test_the_class_head_learns_the_classes_and_pulls_g(quick: Quick, shapes: ImageDataset) -> None:
    played = adversarial(quick(conditioning={"kind": "class_head"}), shapes)
    place = D_METRICS.index("class_loss_d")
    losses = [d_step(played)[place].item() for _ in range(40)]
    assert losses[-1] < losses[0] / 2
    assert losses[0] == pytest.approx(2 * torch.tensor(3.0).log().item(), rel=0.6)


def test_historical_averaging_holds_the_weights_back(quick: Quick, shapes: ImageDataset) -> None:
    def way(weight: float) -> float:
        played = adversarial(quick(stabilizers={"historical_averaging": weight}), shapes)
        before = torch.cat([p.detach().flatten() for p in played.d.network.parameters()]).clone()
        for _ in range(20):
            d_step(played)
        after = torch.cat([p.detach().flatten() for p in played.d.network.parameters()])
        return float((after - before).norm())

    assert way(100.0) < way(0.0) / 2


def test_noise_reaches_d_in_both_phases(quick: Quick, shapes: ImageDataset) -> None:
    spec = quick(stabilizers={"instance_noise": 0.5})
    loud, silent = adversarial(spec, shapes), adversarial(spec, shapes)
    assert not torch.equal(d_step(loud), silent.d_step(REAL.clone(), LABELS, Z, ScheduledValues()))
    assert not torch.equal(g_step(loud), silent.g_step(Z, LABELS, ScheduledValues()))


def test_bf16_computes_in_bf16_and_keeps_weights_and_losses_in_fp32(quick: Quick, shapes: ImageDataset) -> None:
    played, plain = adversarial(quick(), shapes, bf16=True), adversarial(quick(), shapes)
    rounded, exact = d_step(played), d_step(plain)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert rounded[0].item() == pytest.approx(exact[0].item(), abs=0.05)
    g_step(played)
    weights = [*played.g.network.parameters(), *played.d.network.parameters()]
    assert {p.dtype for p in weights} == {torch.float32}


def test_penalties_are_in_fp32_under_bf16(quick: Quick, shapes: ImageDataset) -> None:
    changes = {
        "discriminator": {"normalization": "none"},
        "penalties": [{"kind": "gradient_penalty", "weight": 10.0}],
    }
    place = D_METRICS.index("penalty_d")
    rounded, exact = (
        d_step(adversarial(quick(**changes), shapes, bf16=bf16))[place].item() for bf16 in (True, False)
    )
    assert rounded == pytest.approx(exact, rel=1e-3)


@EVERY_PRESET
def test_a_step_that_is_not_finite_moves_neither_weights_nor_buffers(
    quick: Quick, shapes: ImageDataset, preset: str
) -> None:
    played = adversarial(spec := quick(preset=preset), shapes)
    real = real_for(shapes, spec)
    d_step(played, real), g_step(played, real)
    g, d = snapshot(played.g.network), snapshot(played.d.network)
    assert not torch.isfinite(d_step(played, torch.full_like(real, float("nan")))).all()
    assert not torch.isfinite(g_step(played, real, torch.full_like(Z, float("nan")))).all()
    assert changed(played.d.network, d) == changed(played.g.network, g) == set()
