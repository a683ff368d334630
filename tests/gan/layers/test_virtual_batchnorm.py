"""Virtual batch normalisation: statistics of the reference batch and of the example itself."""

from __future__ import annotations

import pytest
import torch

from gan.layers.seeded_init import fill, he_normal
from gan.layers.virtual_batchnorm import REFERENCE_SIZE, ReferenceBatch, VirtualBatchNorm2d


def norm(channels: int = 3) -> VirtualBatchNorm2d:
    """Return a layer with its first weights."""
    layer = VirtualBatchNorm2d(channels)
    fill(layer, torch.Generator(), he_normal)
    return layer


def batch(count: int) -> torch.Tensor:
    """Return a reference batch followed by `count` examples."""
    return 1.0 + 3.0 * torch.randn(REFERENCE_SIZE + count, 3, 4, 4)


def test_the_reference_is_normalised_by_itself() -> None:
    x = batch(5)
    reference = norm()(x)[:REFERENCE_SIZE]
    assert torch.allclose(reference.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(reference.var((0, 2, 3), correction=0), torch.ones(3), atol=1e-4)


def test_an_example_is_normalised_by_the_reference_and_itself_together() -> None:
    x = batch(4)
    normalised = norm()(x)
    for row in range(REFERENCE_SIZE, REFERENCE_SIZE + 4):
        both = torch.cat([x[:REFERENCE_SIZE], x[row : row + 1]])
        mean, var = both.mean((0, 2, 3)), both.var((0, 2, 3), correction=0)
        expected = (x[row] - mean[:, None, None]) / (var + 1e-5).sqrt()[:, None, None]
        assert torch.allclose(normalised[row], expected, atol=1e-5)


def test_an_example_does_not_depend_on_the_others() -> None:
    x = batch(4)
    other = torch.cat([x[: REFERENCE_SIZE + 1], 100.0 * torch.randn(3, 3, 4, 4)])
    assert torch.equal(norm()(x)[REFERENCE_SIZE], norm()(other)[REFERENCE_SIZE])
    assert not torch.equal(norm()(x)[REFERENCE_SIZE + 1], norm()(other)[REFERENCE_SIZE + 1])


def test_each_channel_has_its_own_scale_and_shift() -> None:
    layer, x = norm(), batch(2)
    before = layer(x)
    layer.weight.data.copy_(torch.tensor([1.0, 2.0, -1.0]))
    layer.bias.data.copy_(torch.tensor([0.0, 0.5, 3.0]))
    expected = before * layer.weight[:, None, None] + layer.bias[:, None, None]
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_the_gradient_flows_through_the_reference() -> None:
    x = batch(1).requires_grad_()
    (gradient,) = torch.autograd.grad(norm()(x)[REFERENCE_SIZE].square().sum(), x)
    assert (gradient.abs().sum((1, 2, 3)) > 0).all()


@pytest.mark.parametrize("classes", [1, 3, 10, 100])
def test_the_reference_is_spread_evenly_over_the_classes(classes: int) -> None:
    reference = ReferenceBatch(z_dim=5, z_distribution="normal", classes=classes)
    fill(reference, torch.Generator().manual_seed(1), he_normal)
    z, labels = reference.prepend(torch.zeros(2, 5), torch.tensor([0, 0]))
    assert z.shape == (REFERENCE_SIZE + 2, 5)
    assert labels is not None
    counts = torch.bincount(labels[:REFERENCE_SIZE], minlength=classes)
    assert counts.max() - counts.min() <= 1
    assert len(counts) == classes


def test_the_reference_has_the_distribution_of_latents() -> None:
    reference = ReferenceBatch(z_dim=50, z_distribution="uniform", classes=0)
    fill(reference, torch.Generator().manual_seed(1), he_normal)
    z, labels = reference.prepend(torch.zeros(2, 50), None)
    assert labels is None
    assert z.abs().max() <= 1
    assert z[:REFERENCE_SIZE].std().item() == pytest.approx(3**-0.5, rel=0.05)
