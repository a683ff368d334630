"""Losses against their equations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gan.losses import LOSSES, Kind

ZERO = torch.zeros(8)


@pytest.mark.parametrize(("kind", "g"), [("minimax", -math.log(2)), ("non_saturating", math.log(2))])
def test_losses_where_d_cannot_tell(kind: Kind, g: float) -> None:
    loss = LOSSES[kind]
    assert loss.d(ZERO, ZERO).item() == pytest.approx(2 * math.log(2))
    assert loss.g(ZERO).item() == pytest.approx(g)


def test_losses_are_the_papers_equations() -> None:
    real, fake = torch.tensor([1.5, -0.3]), torch.tensor([0.7, -2.0])
    d_real, d_fake = real.sigmoid(), fake.sigmoid()
    equation_1 = -(d_real.log().mean() + (1 - d_fake).log().mean())
    for loss in LOSSES.values():
        assert loss.d(real, fake).item() == pytest.approx(equation_1.item(), abs=1e-6)
    assert LOSSES["minimax"].g(fake).item() == pytest.approx((1 - d_fake).log().mean().item(), abs=1e-6)
    assert LOSSES["non_saturating"].g(fake).item() == pytest.approx(-d_fake.log().mean().item(), abs=1e-6)


def gradient(kind: Kind, logit: float) -> float:
    fake = torch.tensor([logit], requires_grad=True)
    torch.autograd.backward(LOSSES[kind].g(fake))
    assert isinstance(fake.grad, Tensor)
    return fake.grad.item()


def test_minimax_fades_where_d_is_sure_and_non_saturating_does_not() -> None:
    assert abs(gradient("minimax", -12.0)) < 1e-5
    assert gradient("non_saturating", -12.0) == pytest.approx(-1.0, abs=1e-4)


@pytest.mark.parametrize("kind", LOSSES)
def test_g_descends_towards_logits_that_call_its_images_real(kind: Kind) -> None:
    assert gradient(kind, 0.0) == pytest.approx(-0.5)


@pytest.mark.parametrize("kind", LOSSES)
def test_logits_of_a_thousand_stay_finite(kind: Kind) -> None:
    loss = LOSSES[kind]
    for far in (torch.tensor([1e3]), torch.tensor([-1e3])):
        assert torch.isfinite(loss.d(far, -far))
        assert torch.isfinite(loss.g(far))


@pytest.mark.parametrize("kind", LOSSES)
def test_d_accuracy_is_the_sign_of_the_logit(kind: Kind) -> None:
    accuracy = LOSSES[kind].d_accuracy
    assert accuracy(torch.tensor([1.0, 2.0]), torch.tensor([-1.0, -2.0])).item() == 1.0
    assert accuracy(torch.tensor([1.0, -2.0]), torch.tensor([1.0, 2.0])).item() == 0.25
    assert accuracy(ZERO, ZERO).item() == 0.0
