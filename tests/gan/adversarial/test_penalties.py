"""Penalties on a D with a known gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gan.adversarial.penalties import gradient_penalty, zero_centered_penalty

SHAPE = (5, 2, 3, 3)
SLOPE = torch.randn(SHAPE[1:], generator=torch.Generator().manual_seed(0))
NORM = SLOPE.norm().item()


def linear(images: Tensor) -> Tensor:
    """Return D(x) = <slope, x>, which has the same gradient everywhere."""
    return (images * SLOPE).sum((1, 2, 3))


def images(seed: int) -> Tensor:
    """Return random images of shape `SHAPE`."""
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def test_the_gradient_penalty_of_a_linear_d() -> None:
    mix = torch.rand(5, 1, 1, 1, generator=torch.Generator().manual_seed(1))
    penalty = gradient_penalty(linear, images(2), images(3), mix)
    assert penalty.item() == pytest.approx((NORM - 1) ** 2, rel=1e-5)


def test_r1_and_r2_of_a_linear_d() -> None:
    x = images(2).requires_grad_()
    assert zero_centered_penalty(linear(x), x).item() == pytest.approx(NORM**2 / 2, rel=1e-5)


def test_the_gradient_penalty_is_computed_between_real_and_fake() -> None:
    inputs: list[Tensor] = []

    def critic(x: Tensor) -> Tensor:
        inputs.append(x.detach())
        return linear(x)

    real, fake = torch.ones(SHAPE), -torch.ones(SHAPE)
    mix = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]).view(5, 1, 1, 1)
    gradient_penalty(critic, real, fake, mix)
    assert inputs[0].mean((1, 2, 3)).tolist() == pytest.approx([-1.0, -0.5, 0.0, 0.5, 1.0])


def test_penalties_are_differentiable_in_the_weights_of_d() -> None:
    slope = SLOPE.clone().requires_grad_()
    x = images(2).requires_grad_()
    torch.autograd.backward(zero_centered_penalty((x * slope).sum((1, 2, 3)), x))
    assert slope.grad is not None
    assert torch.allclose(slope.grad, SLOPE, atol=1e-5)


def test_the_penalty_is_a_mean_over_images() -> None:
    def quadratic(x: Tensor) -> Tensor:
        return x.square().sum((1, 2, 3)) / 2

    x = images(4).requires_grad_()
    expected = x.detach().square().sum((1, 2, 3)).mean() / 2
    assert zero_centered_penalty(quadratic(x), x).item() == pytest.approx(expected.item(), rel=1e-5)
