"""Conditional BatchNorm: one normalisation, with a scale and a shift for each class."""

from __future__ import annotations

import torch
from torch import nn

from gan.layers.conditional_batchnorm import ConditionalBatchNorm2d
from gan.layers.seeded_init import fill, he_normal

LABELS = torch.tensor([0, 2, 1, 2, 0])


def norm() -> ConditionalBatchNorm2d:
    """Return a layer with its first weights."""
    layer = ConditionalBatchNorm2d(channels=4, classes=3)
    fill(layer, torch.Generator(), he_normal)
    return layer


def test_each_class_has_its_own_scale_and_shift() -> None:
    layer, x = norm(), torch.randn(5, 4, 3, 3)
    layer.gamma.data.copy_(torch.randn(3, 4))
    layer.beta.data.copy_(torch.randn(3, 4))
    plain = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    for row, label in enumerate(LABELS.tolist()):
        expected = layer.gamma[label][:, None, None] * plain[row] + layer.beta[label][:, None, None]
        assert torch.allclose(layer(x, LABELS)[row], expected, atol=1e-5)


def test_it_is_batchnorm_for_every_class_at_first() -> None:
    layer, x = norm(), torch.randn(5, 4, 3, 3)
    expected = nn.BatchNorm2d(4)(x)
    assert torch.allclose(layer(x, LABELS), expected, atol=1e-6)
    assert torch.allclose(layer(x, LABELS.flip(0)), expected, atol=1e-6)


def test_a_batch_has_gradients_for_its_own_classes_only() -> None:
    layer = norm()
    torch.autograd.backward(layer(torch.randn(2, 4, 3, 3), torch.tensor([1, 1])).square().sum())
    assert layer.gamma.grad is not None
    assert [bool(row.any()) for row in layer.gamma.grad] == [False, True, False]


def test_eval_mode_uses_the_running_statistics() -> None:
    layer = norm()
    for _ in range(200):
        layer(3.0 + 2.0 * torch.randn(8, 4, 3, 3), torch.zeros(8, dtype=torch.int64))
    one = layer.eval()(torch.full((1, 4, 3, 3), 5.0), torch.tensor([0]))
    assert torch.allclose(one, torch.tensor(1.0), atol=0.25)
