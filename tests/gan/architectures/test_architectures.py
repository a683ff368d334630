"""Networks of every size: shapes, ranges, first weights, and what the papers ask for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from gan.architectures import build_networks, networks_without_weights
from gan.catalog import DatasetClass, DatasetInfo
from gan.spec import TrainSpec

Quick = Callable[..., TrainSpec]
CLASSES = tuple(DatasetClass(id=i, label=str(i), count=5) for i in range(3))
MLP = {"generator": {"architecture": "mlp"}, "discriminator": {"architecture": "mlp"}}


def info(side: int, channels: int) -> DatasetInfo:
    return DatasetInfo(name="x", num_images=15, channels=channels, height=side, width=side, classes=CLASSES)


@pytest.mark.parametrize("kind", ["none", "concat"])
@pytest.mark.parametrize(("side", "channels"), [(16, 1), (32, 3), (64, 4), (128, 2)])
@pytest.mark.parametrize("family", ["dcgan", "mlp"])
def test_every_size_gives_images_in_range_and_one_logit_each(
    quick: Quick, family: str, side: int, channels: int, kind: str
) -> None:
    changes = MLP if family == "mlp" else {}
    G, D = build_networks(quick(conditioning={"kind": kind}, **changes), info(side, channels))
    labels = torch.tensor([0, 1, 2]) if kind == "concat" else None
    images = G(torch.randn(3, 8), labels)
    assert images.shape == (3, channels, side, side)
    assert images.abs().max() <= 1
    assert D(images, labels).shape == (3,)


@pytest.mark.parametrize("family", ["dcgan", "mlp"])
def test_the_label_changes_what_g_draws_and_what_d_judges(quick: Quick, family: str) -> None:
    G, D = build_networks(quick(**(MLP if family == "mlp" else {})), info(16, 1))
    G.eval(), D.eval()
    z, one, two = torch.randn(3, 8), torch.tensor([0, 0, 0]), torch.tensor([1, 1, 1])
    assert not torch.equal(G(z, one), G(z, two))
    images = G(z, one)
    assert not torch.equal(D(images, one), D(images, two))


def test_d_gives_raw_logits_not_probabilities(quick: Quick) -> None:
    _, D = build_networks(quick(), info(16, 1))
    with torch.no_grad():
        for parameter in D.parameters():
            parameter.mul_(30)
        assert D(torch.randn(64, 1, 16, 16), torch.zeros(64, dtype=torch.int64)).abs().max() > 1


def test_dcgan_keeps_the_papers_rules(quick: Quick) -> None:
    G, D = build_networks(quick(generator={"base_channels": 64}, discriminator={"base_channels": 64}), info(64, 3))
    kinds = [type(m) for m in D.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.LeakyReLU)]
    assert kinds[:2] == [nn.Conv2d, nn.LeakyReLU]
    assert kinds[2:5] == [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU]
    assert isinstance([m for m in G.modules() if not list(m.children())][-1], nn.Tanh)
    assert [m.out_channels for m in G.modules() if isinstance(m, nn.ConvTranspose2d)] == [256, 128, 64, 3]
    assert [m.out_channels for m in D.modules() if isinstance(m, nn.Conv2d)] == [64, 128, 256, 512]
    assert not any(isinstance(m, nn.MaxPool2d | nn.AvgPool2d) for m in [*G.modules(), *D.modules()])
    for module in [*G.modules(), *D.modules()]:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert module.weight.mean().item() == pytest.approx(0.0, abs=0.002)


@pytest.mark.parametrize("family", ["dcgan", "mlp"])
def test_first_weights_are_a_function_of_the_seed(quick: Quick, family: str) -> None:
    changes = MLP if family == "mlp" else {}
    torch.manual_seed(1)
    one = build_networks(quick(seed=1, **changes), info(16, 1))
    torch.manual_seed(2)
    same = build_networks(quick(seed=1, **changes), info(16, 1))
    other = build_networks(quick(seed=2, **changes), info(16, 1))
    for network, twin, stranger in zip(one, same, other, strict=True):
        a, b, c = network.state_dict(), twin.state_dict(), stranger.state_dict()
        assert all(torch.equal(a[k], b[k]) and torch.isfinite(a[k]).all() for k in a)
        assert any(not torch.equal(a[k], c[k]) for k in a)


def test_to_build_draws_nothing_from_the_global_generator(quick: Quick) -> None:
    before = torch.get_rng_state()
    build_networks(quick(), info(16, 1))
    assert torch.equal(torch.get_rng_state(), before)


def test_networks_without_weights_allocate_nothing(quick: Quick) -> None:
    G, D = networks_without_weights(quick(generator={"base_channels": 256}), info(128, 4))
    assert all(p.device.type == "meta" for p in [*G.parameters(), *D.parameters(), *G.buffers(), *D.buffers()])
