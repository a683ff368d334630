"""Adversarial losses of G and D: pure functions of D's logits that return terms to minimise.

D's output is a logit l, and D(x) = sigmoid(l(x)). With softplus(t) = log(1 + exp(t)), which does not overflow:
    -log D = softplus(-l)        -log(1 - D) = softplus(l)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import torch.nn.functional as F
from torch import Tensor

from gan.spec.fields import LossKind, TrainSpec


@dataclass(frozen=True)
class Loss:
    """The losses of both networks. Every function takes logits (N,) in fp32 and returns a scalar."""

    d: Callable[[Tensor, Tensor], Tensor]
    """(real_logits, fake_logits) -> D's loss, to be minimised."""
    g: Callable[[Tensor, Tensor | None], Tensor]
    """(fake_logits, real_logits) -> G's loss, to be minimised. real_logits is None if the loss does not need them."""
    d_accuracy: Callable[[Tensor, Tensor], Tensor]
    """(real_logits, fake_logits) -> the share of images that D classifies correctly, 0..1. What counts as correct
    depends on the loss."""


def loss_of(spec: TrainSpec) -> Loss:
    """Return the loss of `spec`, with smoothed labels where it asks for them."""
    loss = LOSSES[spec.loss.kind]
    real_label, fake_label = spec.stabilizers.real_label, spec.stabilizers.fake_label
    if (real_label, fake_label) == (1.0, 0.0):
        return loss
    return replace(loss, d=partial(discriminator_cross_entropy, real_label=real_label, fake_label=fake_label))


def discriminator_cross_entropy(
    real_logits: Tensor, fake_logits: Tensor, real_label: float = 1.0, fake_label: float = 0.0
) -> Tensor:
    """Return -E log D(x) - E log(1 - D(G(z))) (Goodfellow et al. 2014, arXiv:1406.2661, equation 1).

    It is 2 log 2 = 1.386 where D outputs 1/2, and 0 where D is certain and correct. With label smoothing (Salimans et
    al. 2016, arXiv:1606.03498, section 3.4) a real_label a below 1 makes the loss of a real
    -a log D - (1 - a) log(1 - D); a fake_label above 0 changes the loss of a fake in the same way.
    """
    return cross_entropy(real_logits, real_label) + cross_entropy(fake_logits, fake_label)


def cross_entropy(logits: Tensor, label: float) -> Tensor:
    """Return the mean over (N,) of -label log D - (1 - label) log(1 - D)."""
    if label == 1.0:
        return F.softplus(-logits).mean()
    if label == 0.0:
        return F.softplus(logits).mean()
    return (label * F.softplus(-logits) + (1.0 - label) * F.softplus(logits)).mean()


def minimax_generator(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """Return E log(1 - D(G(z))) (Goodfellow et al. 2014, arXiv:1406.2661, equation 1).

    It is -log 2 = -0.693 where D outputs 1/2. Its gradient in the logit is -D(G(z)), which vanishes where D is
    certain that the images are fake.
    """
    return -F.softplus(fake_logits).mean()


def non_saturating_generator(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """Return -E log D(G(z)) (Goodfellow et al. 2014, arXiv:1406.2661, section 3).

    It is log 2 = 0.693 where D outputs 1/2. Its gradient in the logit is D(G(z)) - 1, which is largest where D is
    certain that the images are fake.
    """
    return F.softplus(-fake_logits).mean()


def discriminator_least_squares(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return 1/2 E (D(x) - 1)^2 + 1/2 E D(G(z))^2, where D is the logit itself.

    Mao et al. 2017, arXiv:1611.04076, equation 9.
    """
    return ((real_logits - 1.0).square().mean() + fake_logits.square().mean()) / 2


def least_squares_generator(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """Return 1/2 E (D(G(z)) - 1)^2, where D is the logit itself (Mao et al. 2017, arXiv:1611.04076, equation 9)."""
    return (fake_logits - 1.0).square().mean() / 2


def critic_wasserstein(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return E D(G(z)) - E D(x), the negative of the critic's estimate of the Wasserstein distance.

    Arjovsky et al. 2017, arXiv:1701.07875, equation 2.
    """
    return fake_logits.mean() - real_logits.mean()


def negated_critic(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """Return -E D(G(z)), the loss of G with a Wasserstein critic and with the hinge loss of D.

    Arjovsky et al. 2017, arXiv:1701.07875, theorem 3; Lim and Ye 2017, arXiv:1705.02894.
    """
    return -fake_logits.mean()


def discriminator_hinge(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))), where D is the logit itself.

    Lim and Ye 2017, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957, equation 16. It is 2 where all logits are
    0, and 0 where every real is above 1 and every fake below -1.
    """
    return F.relu(1.0 - real_logits).mean() + F.relu(1.0 + fake_logits).mean()


def discriminator_relativistic(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return -E log sigmoid(D(x) - D(G(z))) over pairs of a real and a fake, where D is the logit itself.

    RpGAN: Jolicoeur-Martineau 2018, arXiv:1807.00734. It is log 2 = 0.693 where D cannot distinguish them. Both
    images of a pair have the same label.
    """
    return F.softplus(fake_logits - real_logits).mean()


def relativistic_generator(fake_logits: Tensor, real_logits: Tensor | None) -> Tensor:
    """Return -E log sigmoid(D(G(z)) - D(x)): D's loss with the pair swapped, on fresh reals.

    Huang et al. 2024, arXiv:2501.05441.
    """
    assert real_logits is not None
    return F.softplus(real_logits - fake_logits).mean()


def sign_accuracy(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return the share of reals with D(x) > 1/2 and fakes with D(G(z)) < 1/2; a logit of 0 counts as wrong."""
    return _accuracy(real_logits > 0, fake_logits < 0)


def half_accuracy(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return the share of images nearer to their own target, 1 for a real and 0 for a fake."""
    return _accuracy(real_logits > 0.5, fake_logits < 0.5)


def midpoint_accuracy(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return the share of images on their own side of the midpoint between the mean of reals and that of fakes.

    A critic's logits have no absolute zero.
    """
    midpoint = (real_logits.mean() + fake_logits.mean()) / 2
    return _accuracy(real_logits > midpoint, fake_logits < midpoint)


def pair_accuracy(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return the share of pairs with D(x) > D(G(z))."""
    return (real_logits > fake_logits).float().mean()


def _accuracy(real_correct: Tensor, fake_correct: Tensor) -> Tensor:
    return (real_correct.float().mean() + fake_correct.float().mean()) / 2


LOSSES: Final[dict[LossKind, Loss]] = {
    "minimax": Loss(d=discriminator_cross_entropy, g=minimax_generator, d_accuracy=sign_accuracy),
    "non_saturating": Loss(d=discriminator_cross_entropy, g=non_saturating_generator, d_accuracy=sign_accuracy),
    "least_squares": Loss(d=discriminator_least_squares, g=least_squares_generator, d_accuracy=half_accuracy),
    "wasserstein": Loss(d=critic_wasserstein, g=negated_critic, d_accuracy=midpoint_accuracy),
    "hinge": Loss(d=discriminator_hinge, g=negated_critic, d_accuracy=sign_accuracy),
    "relativistic": Loss(d=discriminator_relativistic, g=relativistic_generator, d_accuracy=pair_accuracy),
}
