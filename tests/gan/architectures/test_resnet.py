"""Residual networks: the blocks of the paper, their order and widths."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from gan.architectures import build_networks, networks_without_weights
from gan.architectures.resnet import DownBlock, FirstDownBlock, SameBlock, UpBlock
from gan.layers.conditional_batchnorm import ConditionalBatchNorm2d
from gan.layers.label_conditioned import apply_layers
from gan.spec import TrainSpec, preset_spec
from tests.gan.architectures.variants import both, info

Quick = Callable[..., TrainSpec]
LABELS = torch.tensor([0, 1])


def test_the_widths_are_those_of_the_largest_networks_of_the_paper(quick: Quick) -> None:
    G, D = build_networks(quick(**both("resnet", base_channels=4)), info(128, 3))
    ups = [m for m in G.modules() if isinstance(m, UpBlock)]
    downs = [m for m in D.modules() if isinstance(m, FirstDownBlock | DownBlock | SameBlock)]
    # The networks of the paper go from 1024 to 64 channels, and from 64 to 1024.
    assert [up.shortcut.out_channels for up in ups] == [64, 32, 16, 8, 4]
    assert [type(m) for m in downs] == [FirstDownBlock, DownBlock, DownBlock, DownBlock, DownBlock, SameBlock]
    assert [m.shortcut.out_channels for m in downs if isinstance(m, DownBlock)] == [8, 16, 32, 64]


# (input, output) of each 3 x 3 convolution of D for 128 x 128 pixels, in units of its narrowest width, which is 64 in
# both codes: `dis_models/snresnet.py` of sngan_projection and `discriminator.py` of self-attention-gan.
SNGAN = [(1, 1), (1, 1), (1, 2), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16), (16, 16)]
SAGAN = [(1, 1), (1, 2), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16), (16, 16), (16, 16)]


@pytest.mark.parametrize(("preset", "expected"), [("sngan-projection", SNGAN), ("sagan", SAGAN)])
def test_the_convolutions_of_d_are_those_of_the_authors_code(preset: str, expected: list[tuple[int, int]]) -> None:
    _, D = networks_without_weights(preset_spec(preset), info(128, 3))
    base = preset_spec(preset).discriminator.base_channels
    found = [
        (m.in_channels, m.out_channels) for m in D.modules() if isinstance(m, nn.Conv2d) and m.kernel_size[0] == 3
    ]
    assert found == [(3, base), *((before * base, after * base) for before, after in expected)]


def test_by_default_a_block_of_d_is_as_wide_inside_as_its_output(quick: Quick) -> None:
    _, D = build_networks(quick(**both("resnet", base_channels=4)), info(32, 1))
    blocks = [m for m in D.modules() if isinstance(m, DownBlock)]
    widths = [[m.out_channels for m in block.branch.children() if isinstance(m, nn.Conv2d)] for block in blocks]
    assert widths == [[8, 8], [16, 16]]


def test_g_has_batch_norm_and_d_has_no_norm(quick: Quick) -> None:
    G, D = build_networks(quick(**both("resnet")), info(32, 1))
    assert sum(isinstance(m, nn.BatchNorm2d) for m in G.modules()) == 2 * 3 + 1
    assert not any(isinstance(m, nn.BatchNorm2d | nn.GroupNorm) for m in D.modules())


def test_conditional_batch_norm_is_in_every_block_and_no_label_is_joined_to_z(quick: Quick) -> None:
    conditioning = {"kind": "projection", "generator": "conditional_batch_norm"}
    G, _ = build_networks(quick(conditioning=conditioning, **both("resnet")), info(32, 1))
    assert sum(isinstance(m, ConditionalBatchNorm2d) for m in G.modules()) == 2 * 3
    assert not any(isinstance(m, nn.Embedding) for m in G.modules())
    assert G.get_submodule("project").in_features == 8


def test_features_are_sums_over_all_positions(quick: Quick) -> None:
    _, D = build_networks(quick(**both("resnet")), info(32, 1))
    maps = []
    D.get_submodule("blocks").register_forward_hook(lambda _layer, _inputs, output: maps.append(output))
    features = D.outputs(torch.rand(2, 1, 32, 32), LABELS).features
    assert maps[0].shape[2:] == (4, 4)
    assert torch.equal(features, maps[0].sum((2, 3)))
    assert (features >= 0).all()


def test_an_up_block_is_its_branch_plus_the_shortcut_of_the_upsampled_input() -> None:
    block, x = UpBlock(3, 5, nn.BatchNorm2d), torch.randn(2, 3, 4, 4)
    upsampled = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    expected = apply_layers(block.branch, x, None) + block.shortcut(upsampled)
    assert torch.allclose(block(x, None), expected, atol=1e-6)


def test_a_down_block_is_the_average_pool_of_branch_plus_shortcut() -> None:
    block, x = DownBlock(3, 5, 4), torch.randn(2, 3, 4, 4)
    whole = block.branch(x) + block.shortcut(x)
    expected = whole.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    assert torch.allclose(block(x), expected, atol=1e-6)


def test_the_first_block_has_a_gradient_for_pixels_below_zero() -> None:
    block, x = FirstDownBlock(1, 4), -torch.rand(2, 1, 4, 4)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(block(x).sum(), x)
    assert (gradient != 0).any()


def test_first_weights_of_branches_are_larger_than_those_of_shortcuts(quick: Quick) -> None:
    G, _ = build_networks(quick(**both("resnet", base_channels=32)), info(32, 3))
    for module in G.modules():
        if isinstance(module, nn.Conv2d):
            size = module.kernel_size[0]
            bound = (math.sqrt(2) if size == 3 else 1) * math.sqrt(
                6 / (size**2 * (module.in_channels + module.out_channels))
            )
            assert bound * 0.97 < module.weight.abs().max().item() <= bound


def test_the_first_logits_of_d_have_a_moderate_size(quick: Quick) -> None:
    _, D = build_networks(quick(**both("resnet", base_channels=32)), info(32, 1))
    logits = D(torch.rand(16, 1, 32, 32) * 2 - 1, torch.arange(16) % 3)
    assert 0.1 < logits.abs().mean().item() < 30
