"""Minibatch discrimination: how near the others of the batch are."""

from __future__ import annotations

import torch

from gan.layers.minibatch import MinibatchDiscrimination
from gan.layers.seeded_init import fill, he_normal


def layer(kernels: int = 7) -> MinibatchDiscrimination:
    made = MinibatchDiscrimination(features=10, kernels=kernels)
    fill(made, torch.Generator().manual_seed(0), he_normal)
    return made


def test_it_is_the_papers_sum_of_likenesses() -> None:
    made, features = layer(), torch.randn(4, 10)
    rows = (features @ made.t.weight.T).view(4, 7, 5)
    expected = torch.zeros(4, 7)
    for i in range(4):
        for j in range(4):
            expected[i] += torch.exp(-(rows[i] - rows[j]).abs().sum(1))
    assert torch.allclose(made(features), expected, atol=1e-5)


def test_duplicates_are_seen() -> None:
    made, features = layer(), torch.randn(16, 10)
    varied, collapsed = made(features), made(features[:1].expand(16, -1))
    assert torch.allclose(collapsed, torch.tensor(16.0))
    assert (varied < 8).all()
    half = made(features[:8].repeat(2, 1))
    assert (half >= 2).all()
    assert half.mean() > varied.mean()


def test_an_image_alone_is_like_itself() -> None:
    assert torch.equal(layer()(torch.randn(1, 10)), torch.ones(1, 7))


def test_duplicates_have_a_gradient_without_nan() -> None:
    features = torch.randn(1, 10).repeat(3, 1).requires_grad_()
    torch.autograd.backward(layer()(features).sum())
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()
