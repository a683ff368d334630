"""The losses compared with their equations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gan.adversarial.losses import LOSSES, loss_of
from gan.spec import resolve
from gan.spec.fields import LossKind

ZERO = torch.zeros(8)
REAL, FAKE = torch.tensor([1.5, -0.3]), torch.tensor([0.7, -2.0])
LOG2 = math.log(2)
WITH_SIGNS: tuple[LossKind, ...] = ("minimax", "non_saturating", "hinge")


@pytest.mark.parametrize(
    ("kind", "d", "g"),
    [
        ("minimax", 2 * LOG2, -LOG2),
        ("non_saturating", 2 * LOG2, LOG2),
        ("least_squares", 0.5, 0.5),
        ("wasserstein", 0.0, 0.0),
        ("hinge", 2.0, 0.0),
        ("relativistic", LOG2, LOG2),
    ],
)
def test_losses_at_logits_of_zero(kind: LossKind, d: float, g: float) -> None:
    loss = LOSSES[kind]
    assert loss.d(ZERO, ZERO).item() == pytest.approx(d)
    assert loss.g(ZERO, ZERO).item() == pytest.approx(g)


def test_cross_entropies_are_the_equations_of_the_paper() -> None:
    d_real, d_fake = REAL.sigmoid(), FAKE.sigmoid()
    equation_1 = -(d_real.log().mean() + (1 - d_fake).log().mean())
    for kind in ("minimax", "non_saturating"):
        assert LOSSES[kind].d(REAL, FAKE).item() == pytest.approx(equation_1.item(), abs=1e-6)
    assert LOSSES["minimax"].g(FAKE, None).item() == pytest.approx((1 - d_fake).log().mean().item(), abs=1e-6)
    assert LOSSES["non_saturating"].g(FAKE, None).item() == pytest.approx(-d_fake.log().mean().item(), abs=1e-6)


def test_the_other_losses_by_hand() -> None:
    assert LOSSES["least_squares"].d(REAL, FAKE).item() == pytest.approx((0.25 + 1.69) / 4 + (0.49 + 4.0) / 4)
    assert LOSSES["least_squares"].g(FAKE, None).item() == pytest.approx((0.09 + 9.0) / 4)
    assert LOSSES["wasserstein"].d(REAL, FAKE).item() == pytest.approx(-0.65 - 0.6)
    assert LOSSES["wasserstein"].g(FAKE, None).item() == pytest.approx(0.65)
    assert LOSSES["hinge"].d(REAL, FAKE).item() == pytest.approx((0.0 + 1.3) / 2 + (1.7 + 0.0) / 2)
    pairs = [1.5 - 0.7, -0.3 + 2.0]
    assert LOSSES["relativistic"].d(REAL, FAKE).item() == pytest.approx(
        sum(math.log1p(math.exp(-p)) for p in pairs) / 2
    )
    assert LOSSES["relativistic"].g(FAKE, REAL).item() == pytest.approx(
        sum(math.log1p(math.exp(p)) for p in pairs) / 2
    )


def gradient(kind: LossKind, logit: float) -> float:
    """Return the gradient of G's loss in the logit of one fake."""
    fake = torch.tensor([logit], requires_grad=True)
    torch.autograd.backward(LOSSES[kind].g(fake, torch.zeros(1)))
    assert isinstance(fake.grad, Tensor)
    return fake.grad.item()


def test_only_minimax_vanishes_where_d_is_certain() -> None:
    assert abs(gradient("minimax", -12.0)) < 1e-5
    for kind in LOSSES:
        if kind != "minimax":
            assert gradient(kind, -12.0) <= -0.9


@pytest.mark.parametrize("kind", LOSSES)
def test_the_loss_of_g_falls_with_higher_fake_logits(kind: LossKind) -> None:
    assert gradient(kind, 0.0) < 0


@pytest.mark.parametrize("kind", LOSSES)
def test_the_loss_of_d_falls_with_higher_real_and_lower_fake_logits(kind: LossKind) -> None:
    real, fake = (torch.zeros(3, requires_grad=True) for _ in range(2))
    torch.autograd.backward(LOSSES[kind].d(real, fake))
    assert real.grad is not None and fake.grad is not None
    assert (real.grad < 0).all()
    assert (fake.grad >= 0).all()
    assert (fake.grad > 0).all() or kind == "least_squares"  # Its target is 0.


@pytest.mark.parametrize("kind", LOSSES)
def test_losses_of_large_logits_are_finite(kind: LossKind) -> None:
    loss = LOSSES[kind]
    for large in (torch.tensor([1e3]), torch.tensor([-1e3])):
        assert torch.isfinite(loss.d(large, -large))
        assert torch.isfinite(loss.g(large, -large))


@pytest.mark.parametrize("kind", WITH_SIGNS)
def test_d_accuracy_is_the_sign_of_the_logit(kind: LossKind) -> None:
    accuracy = LOSSES[kind].d_accuracy
    assert accuracy(torch.tensor([1.0, 2.0]), torch.tensor([-1.0, -2.0])).item() == 1.0
    assert accuracy(torch.tensor([1.0, -2.0]), torch.tensor([1.0, 2.0])).item() == 0.25
    assert accuracy(ZERO, ZERO).item() == 0.0


def test_d_accuracy_of_the_other_losses() -> None:
    least_squares, wasserstein, relativistic = (
        LOSSES[kind].d_accuracy for kind in ("least_squares", "wasserstein", "relativistic")
    )
    assert least_squares(torch.tensor([0.6, 0.4]), torch.tensor([0.4, -3.0])).item() == 0.75
    # The logits of a critic have no absolute zero; only their order counts.
    assert wasserstein(torch.tensor([-5.0, -6.0]), torch.tensor([-9.0, -8.0])).item() == 1.0
    assert wasserstein(torch.tensor([101.0, 99.0]), torch.tensor([99.0, 97.0])).item() == 0.5
    assert relativistic(torch.tensor([-1.0, 0.0]), torch.tensor([-2.0, 5.0])).item() == 0.5


def test_label_smoothing_changes_the_loss_of_d_only() -> None:
    spec = resolve({"dataset": "x", "stabilizers": {"real_label": 0.9, "fake_label": 0.1}})
    smooth, sharp = loss_of(spec), LOSSES["non_saturating"]
    d_real, d_fake = REAL.sigmoid(), FAKE.sigmoid()
    expected = (
        -(0.9 * d_real.log() + 0.1 * (1 - d_real).log()).mean()
        - (0.1 * d_fake.log() + 0.9 * (1 - d_fake).log()).mean()
    )
    assert smooth.d(REAL, FAKE).item() == pytest.approx(expected.item(), abs=1e-6)
    assert smooth.g(FAKE, None) == sharp.g(FAKE, None)
    # The best D(x) is the label.
    logit = torch.tensor([math.log(0.9 / 0.1)], requires_grad=True)
    torch.autograd.backward(smooth.d(logit, torch.zeros(1)))
    assert logit.grad is not None
    assert logit.grad.item() == pytest.approx(0.0, abs=1e-6)


def test_without_smoothing_the_loss_is_unchanged() -> None:
    assert loss_of(resolve({"dataset": "x"})) is LOSSES["non_saturating"]
