"""R3GAN: no norms, residual branches that are zero at first, bilinear resampling."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gan.architectures import build_networks
from gan.architectures.r3gan import DepthwisePool, DownsampleStage, LearnedConstant, ResidualBlock, UpsampleStage
from gan.spec import TrainSpec
from tests.gan.architectures.variants import both, info

Quick = Callable[..., TrainSpec]


def blocks(network: nn.Module) -> list[ResidualBlock]:
    """Return the residual blocks of `network`, in order."""
    return [m for m in network.modules() if isinstance(m, ResidualBlock)]


def test_there_are_no_norms(quick: Quick) -> None:
    norms = nn.modules.batchnorm._BatchNorm | nn.GroupNorm | nn.LayerNorm
    for network in build_networks(quick(**both("r3gan")), info(32, 1)):
        assert not any(isinstance(m, norms) for m in network.modules())


def test_there_is_one_block_per_side_from_4_to_half_the_image(quick: Quick) -> None:
    G, D = build_networks(quick(**both("r3gan", base_channels=8)), info(128, 3))
    assert [b.first.in_channels for b in blocks(G)] == [64, 64, 32, 16, 8]
    assert [b.first.in_channels for b in blocks(D)] == [8, 16, 32, 64, 64]
    assert (
        sum(isinstance(m, UpsampleStage) for m in G.modules())
        == sum(isinstance(m, DownsampleStage) for m in D.modules())
        == 4
    )


def test_every_block_is_the_identity_at_first(quick: Quick) -> None:
    for network in build_networks(quick(**both("r3gan")), info(32, 1)):
        for block in blocks(network):
            x = torch.randn(2, block.first.in_channels, 4, 4)
            assert torch.equal(block(x), x)


def test_the_last_layer_of_a_block_has_a_gradient(quick: Quick) -> None:
    G, _ = build_networks(quick(**both("r3gan")), info(32, 1))
    (block, *_) = blocks(G)
    torch.autograd.backward(block(torch.randn(2, block.first.in_channels, 4, 4)).square().sum())
    assert block.last.weight.grad is not None
    assert block.last.weight.grad.any()


def test_a_block_is_the_input_plus_an_inverted_bottleneck() -> None:
    block, x = ResidualBlock(32), torch.randn(2, 32, 5, 5)
    assert (block.second.in_channels, block.second.groups, block.second.kernel_size) == (64, 4, (3, 3))
    h = F.leaky_relu(block.second(F.leaky_relu(block.first(x), 0.2)), 0.2)
    assert torch.allclose(block(x), x + block.last(h), atol=1e-6)


def test_any_number_of_channels_can_be_grouped() -> None:
    for channels in (4, 5, 17, 25, 31):
        assert ResidualBlock(channels)(torch.randn(1, channels, 4, 4)).shape == (1, channels, 4, 4)


def test_first_weights_depend_on_fan_in_and_depth(quick: Quick) -> None:
    _, D = build_networks(quick(**both("r3gan", base_channels=64)), info(32, 1))
    expected = math.sqrt(2 / 1.04) * 3**-0.25
    for block in blocks(D):
        for layer in (block.first, block.second):
            inputs = layer.in_channels // layer.groups * layer.kernel_size[0] ** 2
            assert layer.weight.std().item() * math.sqrt(inputs) == pytest.approx(expected, rel=0.05)
        assert not block.last.weight.any()


def test_resampling_is_bilinear_with_a_convolution() -> None:
    upsample, downsample, x = UpsampleStage(3, 5), DownsampleStage(3, 5), torch.randn(2, 3, 6, 6)
    larger = F.interpolate(x, scale_factor=2, mode="bilinear")
    smaller = F.interpolate(x, scale_factor=0.5, mode="bilinear")
    assert torch.allclose(upsample(x), upsample.across(larger), atol=1e-5)
    assert torch.allclose(downsample(x), downsample.across(smaller), atol=1e-5)
    assert torch.equal(DownsampleStage(3, 3)(x), F.avg_pool2d(x, 2))


def test_z_scales_each_channel_of_the_learned_map() -> None:
    basis = LearnedConstant(features=6, channels=3)
    basis.map.data.normal_()
    z = torch.randn(2, 6)
    maps = basis(z)
    assert maps.shape == (2, 3, 4, 4)
    for image in range(2):
        for channel in range(3):
            expected = basis.scale(z)[image, channel] * basis.map[:, :, channel]
            assert torch.allclose(maps[image, channel], expected, atol=1e-6)


def test_the_pool_is_a_depthwise_convolution_over_the_whole_map() -> None:
    pool, x = DepthwisePool(5), torch.randn(2, 5, 4, 4)
    pool.weight.data.normal_()
    depthwise = F.conv2d(x, pool.weight.permute(2, 0, 1)[:, None], groups=5)
    assert torch.allclose(pool(x), depthwise.flatten(1), atol=1e-5)
