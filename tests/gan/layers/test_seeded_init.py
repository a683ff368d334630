"""First weights: their distributions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gan.layers.seeded_init import Weighted, fan_in, fill, he_normal


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Linear(30, 5), 30),
        (nn.Conv2d(6, 8, 3), 54),
        (nn.Conv2d(6, 8, 3, groups=2), 27),
        # With a kernel of 4 and stride 2, four of the sixteen weights contribute to each output.
        (nn.ConvTranspose2d(6, 8, 4, stride=2), 24),
    ],
)
def test_fan_in_is_the_number_of_inputs_of_one_output(layer: Weighted, expected: int) -> None:
    assert fan_in(layer) == expected


@pytest.mark.parametrize("layer", [nn.Conv2d(64, 32, 4, stride=2), nn.ConvTranspose2d(64, 32, 4, stride=2)])
def test_activations_keep_their_scale(layer: Weighted) -> None:
    fill(layer, torch.Generator().manual_seed(0), he_normal)
    x = torch.relu(torch.randn(8, 64, 16, 16, generator=torch.Generator().manual_seed(1)))
    # Before a ReLU the standard deviation is 1: a ReLU halves the mean square, and the gain of He doubles it.
    assert layer(x)[:, :, 2:-2, 2:-2].std().item() == pytest.approx(1.0, rel=0.1)


def test_scales_of_norms_are_one_or_around_one_at_first() -> None:
    for deviation in (0.0, 0.02):
        norms: list[nn.BatchNorm2d | nn.GroupNorm] = [nn.BatchNorm2d(1000), nn.GroupNorm(1, 1000)]
        network = nn.Sequential(*norms, nn.BatchNorm2d(3, affine=False))
        fill(network, torch.Generator().manual_seed(0), he_normal, norm_deviation=deviation)
        for norm in norms:
            assert norm.weight.std().item() == pytest.approx(deviation, rel=0.1)
            assert norm.weight.mean().item() == pytest.approx(1.0, abs=0.01)
            assert not norm.bias.any()


def test_embeddings_are_normal_and_biases_zero() -> None:
    embedding, linear = nn.Embedding(100, 100), nn.Linear(400, 400)
    fill(nn.ModuleList([embedding, linear]), torch.Generator().manual_seed(0), he_normal)
    assert embedding.weight.std().item() == pytest.approx(1.0, rel=0.03)
    assert linear.weight.std().item() == pytest.approx(1 / math.sqrt(400), rel=0.03)
    assert not linear.bias.any()
