"""Spectral normalisation: the largest singular value of the normalised weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gan.architectures import build_networks
from gan.layers.seeded_init import fill, he_normal
from gan.layers.spectral_norm import SpectralNorm, normalise, trained_weight, without_spectral_norm
from tests.gan.architectures.variants import both, info
from tests.gan.quick import quick_spec

Weighted = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


def sigma(layer: Weighted) -> float:
    """Return the largest singular value of the weight that `layer` computes with."""
    weight: Tensor = layer.weight.detach()
    outputs_first = weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight
    return float(torch.linalg.matrix_norm(outputs_first.flatten(1), 2))


def plain() -> nn.Sequential:
    """Return a network without spectral normalisation."""
    return nn.Sequential(nn.ConvTranspose2d(3, 5, 4), nn.Conv2d(5, 6, 3), nn.Flatten(), nn.Linear(24, 2))


def normalised() -> nn.Sequential:
    """Return the same network with spectral normalisation and fixed weights."""
    network = plain()
    normalise(network)
    fill(network, torch.Generator().manual_seed(0), he_normal)
    return network


@pytest.mark.parametrize("family", ["dcgan", "mlp", "resnet"])
def test_every_weight_of_both_networks_has_sigma_one_at_first(family: str) -> None:
    attention = {} if family == "mlp" else {"self_attention": True, "base_channels": 16}
    spec = quick_spec(conditioning={"kind": "projection"}, **both(family, spectral_norm=True, **attention))
    for network in build_networks(spec, info(32, 3)):
        layers = [m for m in network.eval().modules() if isinstance(m, Weighted)]
        assert len(layers) >= 3
        for layer in layers:
            assert sigma(layer) == pytest.approx(1.0, abs=0.03)


def test_the_learnt_weight_is_not_normalised() -> None:
    network = normalised().eval()
    layer = network[3]
    assert isinstance(layer, nn.Linear)
    weight = trained_weight(layer)
    assert torch.allclose(layer.weight, weight / torch.linalg.matrix_norm(weight, 2), rtol=1e-2)
    assert trained_weight(nn.Linear(2, 2)).shape == (2, 2)


def test_power_iterations_follow_a_changing_weight_in_train_mode_only() -> None:
    network = normalised()
    layer = network[3]
    assert isinstance(layer, nn.Linear)
    trained_weight(layer).data.copy_(torch.randn(2, 24, generator=torch.Generator().manual_seed(9)) * 5)
    network.eval()
    old_sigma = sigma(layer)
    assert sigma(layer) == old_sigma
    assert old_sigma != pytest.approx(1.0, abs=0.01)
    network.train()
    for _ in range(100):
        network(torch.randn(1, 3, 1, 1))
    assert sigma(layer) == pytest.approx(1.0, abs=0.01)


def test_the_scale_of_a_trained_weight_does_not_matter() -> None:
    network, x = normalised().eval(), torch.randn(2, 3, 1, 1)
    before = network(x)
    for layer in network:
        if isinstance(layer, Weighted):
            trained_weight(layer).data.mul_(7.0)
    assert torch.allclose(network(x), before, atol=1e-5)


def test_without_spectral_norm_the_layers_are_plain_and_compute_the_same() -> None:
    network, x = normalised().eval(), torch.randn(2, 3, 1, 1)
    before = network(x)
    assert any(isinstance(m, SpectralNorm) for m in network.modules())
    simple = without_spectral_norm(network)
    assert not any(isinstance(m, SpectralNorm) for m in simple.modules())
    assert set(simple.state_dict()) == set(plain().state_dict())
    assert torch.equal(simple(x), before)
    # The network itself did not change.
    assert torch.equal(network(x), before)
    assert sum(isinstance(m, SpectralNorm) for m in network.modules()) == 3
