"""Minibatch discrimination: the similarity of an image to the others of its batch."""

from __future__ import annotations

import torch

from gan.layers.minibatch import MinibatchDiscrimination
from gan.layers.seeded_init import fill, he_normal


def layer(kernels: int = 7) -> MinibatchDiscrimination:
    """Return a layer with fixed weights, for features of length 10."""
    minibatch = MinibatchDiscrimination(features=10, kernels=kernels)
    fill(minibatch, torch.Generator().manual_seed(0), he_normal)
    return minibatch


def test_it_is_the_sum_of_similarities_of_the_paper() -> None:
    minibatch, features = layer(), torch.randn(4, 10)
    rows = (features @ minibatch.t.weight.T).view(4, 7, 5)
    expected = torch.zeros(4, 7)
    for i in range(4):
        for j in range(4):
            expected[i] += torch.exp(-(rows[i] - rows[j]).abs().sum(1))
    assert torch.allclose(minibatch(features), expected, atol=1e-5)


def test_duplicates_raise_the_similarity() -> None:
    minibatch, features = layer(), torch.randn(16, 10)
    varied, collapsed = minibatch(features), minibatch(features[:1].expand(16, -1))
    assert torch.allclose(collapsed, torch.tensor(16.0))
    assert (varied < 8).all()
    half = minibatch(features[:8].repeat(2, 1))
    assert (half >= 2).all()
    assert half.mean() > varied.mean()


def test_a_single_image_has_similarity_one() -> None:
    assert torch.equal(layer()(torch.randn(1, 10)), torch.ones(1, 7))


def test_duplicates_have_a_finite_gradient() -> None:
    features = torch.randn(1, 10).repeat(3, 1).requires_grad_()
    torch.autograd.backward(layer()(features).sum())
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()
