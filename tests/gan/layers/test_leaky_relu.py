"""LeakyReLU without a second derivative: the results of torch's, and no graph through the activations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gan.adversarial.penalties import gradient_penalty
from gan.layers.leaky_relu import LeakyReLU
from gan.randomness import generator

ACTIVATIONS = {"ours": LeakyReLU(0.2), "torch": nn.LeakyReLU(0.2)}


def _critic(activation: nn.Module) -> nn.Sequential:
    layers = [nn.Conv2d(1, 8, 3), activation, nn.Conv2d(8, 8, 3), activation, nn.Flatten(), nn.Linear(8 * 16, 1)]
    critic = nn.Sequential(*layers)
    source = generator(0, "test")
    for weight in critic.parameters():
        nn.init.normal_(weight, 0.0, 0.1, generator=source)
    return critic


def _gradients(activation: nn.Module, dtype: torch.dtype) -> list[Tensor]:
    """Return the gradients of a critic's loss and penalty in its weights."""
    critic = _critic(activation).to(dtype)
    source = generator(1, "test")
    real, fake = (torch.randn(6, 1, 8, 8, generator=source).to(dtype) for _ in range(2))
    mix = torch.rand(6, 1, 1, 1, generator=source).to(dtype)
    penalty = gradient_penalty(lambda images: critic(images).squeeze(1), real, fake, mix)
    (critic(fake).mean() - critic(real).mean() + 10 * penalty).backward()
    return [weight.grad for weight in critic.parameters() if weight.grad is not None]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_loss_and_penalty_have_the_gradients_of_torch(dtype: torch.dtype) -> None:
    ours, torchs = (_gradients(activation, dtype) for activation in ACTIVATIONS.values())
    assert len(ours) == 6
    for our, expected in zip(ours, torchs, strict=True):
        torch.testing.assert_close(our, expected, rtol=1e-6, atol=1e-7)


def test_gradcheck_and_gradgradcheck_pass() -> None:
    x = torch.randn(4, 3, dtype=torch.float64, generator=generator(2, "test"), requires_grad=True)
    activation = LeakyReLU(0.2)
    assert torch.autograd.gradcheck(lambda t: activation(t.clone()), x)
    assert torch.autograd.gradgradcheck(lambda t: activation(t.clone()), x)


def test_a_gradient_does_not_depend_on_the_activations() -> None:
    x = torch.randn(4, 3, generator=generator(3, "test"), requires_grad=True)
    weight = torch.ones(3, requires_grad=True)
    (slope,) = torch.autograd.grad(LeakyReLU(0.2)(x * weight).sum(), x, create_graph=True)
    gradients = torch.autograd.grad(slope.sum(), [weight, x], allow_unused=True)
    assert gradients[0] is not None and gradients[1] is None
