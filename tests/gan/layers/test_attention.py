"""Self-attention: equations 1 to 3, computed for one position at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from gan.layers.attention import SelfAttention
from gan.layers.seeded_init import fill, he_normal


def attention(channels: int, gamma: float) -> SelfAttention:
    """Return a layer with fixed weights and the given gamma."""
    layer = SelfAttention(channels)
    fill(layer, torch.Generator().manual_seed(0), he_normal)
    layer.gamma.data.fill_(gamma)
    return layer


def at_position(layer: SelfAttention, x: Tensor, j: int) -> Tensor:
    """Return y_j of one image, (C,), from x (C, positions)."""
    f, g, h, v = (conv.weight.squeeze() for conv in (layer.f, layer.g, layer.h, layer.v))
    scores = torch.stack([(f @ x[:, i]) @ (g @ x[:, j]) for i in range(x.shape[1])])
    beta = scores.exp() / scores.exp().sum()
    o = v @ sum(beta[i] * (h @ x[:, i]) for i in range(x.shape[1]))
    return layer.gamma * o + x[:, j]


def test_it_is_the_identity_at_first() -> None:
    layer = SelfAttention(16)
    fill(layer, torch.Generator().manual_seed(0), he_normal)
    x = torch.randn(2, 16, 4, 4)
    assert torch.equal(layer(x), x)
    torch.autograd.backward(layer(x).sum())
    assert layer.gamma.grad is not None
    assert layer.gamma.grad != 0


def test_it_is_the_sum_over_all_positions_of_the_paper() -> None:
    layer = attention(16, gamma=0.7)
    x = torch.randn(2, 16, 3, 5)
    y = layer(x)
    assert y.shape == x.shape
    for image in range(2):
        for j in (0, 7, 14):
            assert torch.allclose(y[image].flatten(1)[:, j], at_position(layer, x[image].flatten(1), j), atol=1e-5)


def test_every_position_depends_on_every_other_of_the_same_image() -> None:
    layer = attention(16, gamma=1.0)
    x = torch.randn(2, 16, 4, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(layer(x)[0, :, 0, 0].sum(), x)
    assert (gradient[0].abs().sum(0) > 0).all()
    assert gradient[1].abs().sum() == 0


def test_few_channels_are_reduced_to_one() -> None:
    assert attention(4, gamma=1.0)(torch.randn(1, 4, 2, 2)).shape == (1, 4, 2, 2)
