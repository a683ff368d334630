"""One move of each player: who moves, who is held still, and what is vetoed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan.architectures import build_networks
from gan.data import ImageDataset
from gan.game import D_METRICS, G_METRICS, Game, adam, descend, held_still
from gan.losses import LOSSES
from gan.spec import TrainSpec

Quick = Callable[..., TrainSpec]
MLP = {"generator": {"architecture": "mlp"}, "discriminator": {"architecture": "mlp"}}
Z, LABELS = torch.randn(6, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, 2])
REAL = torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
FAMILIES = pytest.mark.parametrize("changes", [{}, MLP], ids=["dcgan", "mlp"])


def game(spec: TrainSpec, data: ImageDataset, bf16: bool = False) -> Game:
    G, D = build_networks(spec, data.info)
    return Game(G, D, adam(G, spec.optimizers.g), adam(D, spec.optimizers.d), LOSSES[spec.loss.kind], bf16)


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def changed(network: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}


def real_for(data: ImageDataset, spec: TrainSpec) -> Tensor:
    return REAL if spec.generator.architecture == "dcgan" else REAL[:, :, 1:15, 1:15]


@FAMILIES
def test_d_moves_and_g_with_its_buffers_is_bit_identical(
    quick: Quick, shapes: ImageDataset, changes: dict[str, Any]
) -> None:
    played = game(spec := quick(**changes), shapes)
    g, d = snapshot(played.G), snapshot(played.D)
    metrics = played.d_step(real_for(shapes, spec), LABELS, Z)
    assert metrics.shape == (len(D_METRICS),)
    assert torch.isfinite(metrics).all()
    assert changed(played.G, g) == set()
    assert {name for name, _ in played.D.named_parameters()} <= changed(played.D, d)
    assert all(p.grad is None for p in played.G.parameters())


@FAMILIES
def test_g_moves_and_d_with_its_buffers_is_bit_identical(
    quick: Quick, shapes: ImageDataset, changes: dict[str, Any]
) -> None:
    played = game(quick(**changes), shapes)
    g, d = snapshot(played.G), snapshot(played.D)
    metrics = played.g_step(Z, LABELS)
    assert metrics.shape == (len(G_METRICS),)
    assert changed(played.D, d) == set()
    assert {name for name, _ in played.G.named_parameters()} <= changed(played.G, g)
    assert all(p.grad is None for p in played.D.parameters())


def test_who_moves_keeps_its_batch_statistics(quick: Quick, shapes: ImageDataset) -> None:
    played = game(quick(), shapes)
    g, d = snapshot(played.G), snapshot(played.D)
    played.d_step(REAL, LABELS, Z)
    # Reals and fakes are two batches to D.
    assert {int(b) for n, b in played.D.named_buffers() if n.endswith("num_batches_tracked")} == {2}
    assert {n for n in d if "running" in n} <= changed(played.D, d)
    played.g_step(Z, LABELS)
    assert {n for n in g if "running" in n} <= changed(played.G, g)


def test_held_still_computes_as_in_training(quick: Quick, shapes: ImageDataset) -> None:
    G, _ = build_networks(quick(), shapes.info)
    with held_still(G):
        inside = G(Z, LABELS)
    assert not inside.requires_grad
    assert torch.equal(inside, G(Z, LABELS))
    assert not torch.equal(inside, G.eval()(Z, LABELS))


def test_held_still_ends_when_the_block_fails(quick: Quick, shapes: ImageDataset) -> None:
    G, _ = build_networks(quick(), shapes.info)
    with pytest.raises(ZeroDivisionError), held_still(G):
        raise ZeroDivisionError
    before = snapshot(G)
    assert all(p.requires_grad for p in G.parameters())
    G(Z, LABELS)
    assert {n for n in before if "running" in n} <= changed(G, before)


def test_the_metrics_are_what_the_networks_say(quick: Quick, shapes: ImageDataset) -> None:
    played = game(quick(), shapes)
    with held_still(played.G), held_still(played.D):
        real_logits, fake_logits = played.D(REAL, LABELS), played.D(played.G(Z, LABELS), LABELS)
    seen = dict(zip(D_METRICS, played.d_step(REAL, LABELS, Z).tolist(), strict=True))
    assert seen["real_logit"] == pytest.approx(real_logits.mean().item(), abs=1e-6)
    assert seen["fake_logit"] == pytest.approx(fake_logits.mean().item(), abs=1e-6)
    assert seen["loss_d"] == pytest.approx(played.loss.d(real_logits, fake_logits).item(), abs=1e-5)
    norm = torch.stack([p.grad.norm() for p in played.D.parameters() if p.grad is not None]).norm()
    assert seen["grad_norm_d"] == pytest.approx(norm.item(), rel=1e-5)


@pytest.mark.parametrize("kind", LOSSES)
def test_each_player_gets_better_at_its_own_game(quick: Quick, shapes: ImageDataset, kind: str) -> None:
    played = game(quick(loss={"kind": kind}, optimizers={"g": {"learning_rate": 2e-3}}), shapes)
    d = [played.d_step(REAL, LABELS, Z)[0].item() for _ in range(30)]
    assert d[-1] < d[0] / 2
    g = [played.g_step(Z, LABELS)[0].item() for _ in range(30)]
    assert g[-1] < g[0]


def test_bf16_computes_in_bf16_and_keeps_weights_and_losses_in_fp32(quick: Quick, shapes: ImageDataset) -> None:
    played, plain = game(quick(), shapes, bf16=True), game(quick(), shapes)
    rounded, exact = played.d_step(REAL, LABELS, Z), plain.d_step(REAL, LABELS, Z)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert rounded[0].item() == pytest.approx(exact[0].item(), abs=0.05)
    played.g_step(Z, LABELS)
    assert {p.dtype for p in [*played.G.parameters(), *played.D.parameters()]} == {torch.float32}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_moves_nothing(bad: float) -> None:
    network = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    descend(optimizer, network(torch.ones(1, 2)).sum())
    before = snapshot(network), [s["exp_avg"].clone() for s in optimizer.state.values()]
    norm = descend(optimizer, (network(torch.ones(1, 2)) * bad).sum())
    assert not torch.isfinite(norm)
    assert changed(network, before[0]) == set()
    assert all(torch.equal(a, s["exp_avg"]) for a, s in zip(before[1], optimizer.state.values(), strict=True))
    descend(optimizer, network(torch.ones(1, 2)).sum())
    assert changed(network, before[0]) == {"weight", "bias"}
