"""The exponential moving average of G."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gan.adversarial.ema import Ema, ema_decay


def test_the_decay_is_one_half_after_the_half_life() -> None:
    assert ema_decay(1000, 10**6, 1000) == pytest.approx(0.5)
    assert ema_decay(1000, 10**6, 64) ** (1000 / 64) == pytest.approx(0.5)


def test_at_first_the_half_life_is_five_percent_of_the_images_seen() -> None:
    assert ema_decay(1000, 2000, 100) == pytest.approx(0.5)
    assert ema_decay(1000, 64, 64) == pytest.approx(0.5**20)


def test_parameters_are_averaged_and_buffers_copied() -> None:
    G = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    ema = Ema(G, half_life_images=100)
    old = [p.clone() for p in ema.network.parameters()]
    with torch.no_grad():
        for p in G.parameters():
            p.add_(1.0)
    G(torch.randn(8, 2))
    ema.update(G, images_seen=10**6, images_since=100)
    for before, average, now in zip(old, ema.network.parameters(), G.parameters(), strict=True):
        assert torch.allclose(average, (before + now) / 2)
    assert all(torch.equal(a, b) for a, b in zip(ema.network.buffers(), G.buffers(), strict=True))


def test_the_average_is_a_separate_network_in_eval_mode() -> None:
    G = nn.Linear(2, 2)
    ema = Ema(G, 100)
    assert not ema.network.training
    with torch.no_grad():
        G.weight.zero_()
    assert not torch.equal(next(ema.network.parameters()), G.weight)
