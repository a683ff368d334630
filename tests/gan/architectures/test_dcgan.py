"""DCGAN: the rules of the paper, and the norms that can replace BatchNorm."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from gan.architectures import build_networks
from gan.layers.attention import SelfAttention
from gan.layers.conditional_batchnorm import ConditionalBatchNorm2d
from gan.layers.leaky_relu import LeakyReLU
from gan.layers.seeded_init import fan_in
from gan.layers.virtual_batchnorm import VirtualBatchNorm2d
from gan.spec import TrainSpec
from tests.gan.architectures.variants import info

Quick = Callable[..., TrainSpec]
CONVOLUTIONS = nn.Conv2d | nn.ConvTranspose2d


def kinds(network: nn.Module, *wanted: type[nn.Module]) -> list[type[nn.Module]]:
    """Return the types of the modules of `network` that are instances of `wanted`, in order."""
    return [type(m) for m in network.modules() if isinstance(m, wanted)]


def test_dcgan_follows_the_rules_of_the_paper(quick: Quick) -> None:
    G, D = build_networks(quick(generator={"base_channels": 64}, discriminator={"base_channels": 64}), info(64, 3))
    layers = kinds(D, nn.Conv2d, nn.BatchNorm2d, LeakyReLU)
    assert layers[:2] == [nn.Conv2d, LeakyReLU]
    assert layers[2:5] == [nn.Conv2d, nn.BatchNorm2d, LeakyReLU]
    assert isinstance([m for m in G.modules() if not list(m.children())][-1], nn.Tanh)
    assert [m.out_channels for m in G.modules() if isinstance(m, nn.ConvTranspose2d)] == [256, 128, 64, 3]
    assert [m.out_channels for m in D.modules() if isinstance(m, nn.Conv2d)] == [64, 128, 256, 512]
    assert not any(isinstance(m, nn.MaxPool2d | nn.AvgPool2d) for m in [*G.modules(), *D.modules()])
    for module in [*G.modules(), *D.modules()]:
        if isinstance(module, CONVOLUTIONS):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert module.weight.mean().item() == pytest.approx(0.0, abs=0.002)


@pytest.mark.parametrize(
    ("normalization", "norm"), [("batch", nn.BatchNorm2d), ("virtual_batch", VirtualBatchNorm2d), ("none", None)]
)
def test_g_has_its_norm_after_each_layer_except_the_last(
    quick: Quick, normalization: str, norm: type[nn.Module] | None
) -> None:
    G, _ = build_networks(quick(generator={"normalization": normalization}), info(32, 1))
    assert kinds(G, nn.BatchNorm2d, VirtualBatchNorm2d) == ([] if norm is None else [norm] * 3)


@pytest.mark.parametrize(
    ("normalization", "norm"), [("batch", nn.BatchNorm2d), ("layer", nn.GroupNorm), ("none", None)]
)
def test_d_has_its_norm_after_each_layer_except_the_first(
    quick: Quick, normalization: str, norm: type[nn.Module] | None
) -> None:
    _, D = build_networks(quick(discriminator={"normalization": normalization}), info(32, 1))
    assert kinds(D, nn.BatchNorm2d, nn.GroupNorm) == ([] if norm is None else [norm] * 2)


def test_layer_norm_is_over_channels_and_positions_of_one_image(quick: Quick) -> None:
    _, D = build_networks(quick(discriminator={"normalization": "layer"}), info(32, 1))
    norm = next(m for m in D.modules() if isinstance(m, nn.GroupNorm))
    x = 5.0 + 2.0 * torch.randn(3, norm.num_channels, 4, 4)
    norm.weight.data.fill_(1.0)
    assert torch.allclose(norm(x).mean((1, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(norm(x).std((1, 2, 3), correction=0), torch.ones(3), atol=1e-3)


def test_without_batch_norms_weights_are_drawn_by_fan_in(quick: Quick) -> None:
    plain = {"normalization": "none", "base_channels": 64}
    for network in build_networks(quick(generator=plain, discriminator=plain), info(32, 3)):
        for module in network.modules():
            if isinstance(module, CONVOLUTIONS):
                assert module.weight.std().item() == pytest.approx(math.sqrt(2 / fan_in(module)), rel=0.1)
                assert module.bias is not None


def test_without_norms_the_images_of_g_are_neither_flat_nor_saturated(quick: Quick) -> None:
    G, _ = build_networks(quick(generator={"normalization": "none", "base_channels": 32}), info(64, 3))
    images = G(torch.randn(16, 8), torch.zeros(16, dtype=torch.int64))
    assert 0.2 < images.std() < 0.8


def test_with_conditional_batch_norm_the_label_is_not_joined_to_z(quick: Quick) -> None:
    conditioning = {"kind": "projection", "generator": "conditional_batch_norm"}
    G, _ = build_networks(quick(conditioning=conditioning), info(32, 1))
    assert kinds(G, ConditionalBatchNorm2d, nn.Embedding) == [ConditionalBatchNorm2d] * 3
    assert G.get_submodule("project").in_features == 8


@pytest.mark.parametrize("side", [16, 32, 64])
def test_attention_is_at_half_the_images_side(quick: Quick, side: int) -> None:
    attention = {"self_attention": True}
    G, D = build_networks(quick(generator=attention, discriminator=attention), info(side, 1))
    sides = []
    for network in (G, D):
        (layer,) = (m for m in network.modules() if isinstance(m, SelfAttention))
        layer.register_forward_hook(lambda _layer, inputs, _output: sides.append(inputs[0].shape[2:]))
    D(G(torch.randn(2, 8), torch.tensor([0, 1])), torch.tensor([0, 1]))
    assert sides == [(side // 2, side // 2)] * 2


def test_the_reference_batch_depends_on_the_seed(quick: Quick) -> None:
    virtual = {"normalization": "virtual_batch"}
    z, labels = torch.randn(2, 8), torch.tensor([0, 1])
    one, same, other = (build_networks(quick(seed=s, generator=virtual), info(16, 1))[0] for s in (1, 1, 2))
    assert torch.equal(one(z, labels), same(z, labels))
    assert torch.equal(one.get_buffer("reference.z"), same.get_buffer("reference.z"))
    assert not torch.equal(one.get_buffer("reference.z"), other.get_buffer("reference.z"))
    assert sorted(set(one.get_buffer("reference.labels").tolist())) == [0, 1, 2]
