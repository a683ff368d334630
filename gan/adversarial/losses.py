"""The games that G and D play: pure functions of D's logits. They return terms to minimise; only the trainer steps.

D's output is a logit l, and D(x) = sigmoid(l(x)). In terms of softplus(t) = log(1 + exp(t)), which does not overflow:
    -log D = softplus(-l)        -log(1 - D) = softplus(l)
Each game also says what it means that D is right about an image.
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
    """One game. Every function takes logits (N,) in fp32 and returns a scalar; both losses are to be minimised."""

    d: Callable[[Tensor, Tensor], Tensor]
    """(real_logits, fake_logits) -> D's loss."""
    g: Callable[[Tensor, Tensor | None], Tensor]
    """(fake_logits, real_logits) -> G's loss; the reals are None where the game's G does not look at them."""
    d_accuracy: Callable[[Tensor, Tensor], Tensor]
    """(real_logits, fake_logits) -> the share that D is right about, 0..1; what "right" means is the game's own."""


def loss_of(spec: TrainSpec) -> Loss:
    """The game of a spec, its labels smoothed where it says so."""
    adversarial = LOSSES[spec.loss.kind]
    real_label, fake_label = spec.stabilizers.real_label, spec.stabilizers.fake_label
    if (real_label, fake_label) == (1.0, 0.0):
        return adversarial
    return replace(adversarial, d=partial(discriminator_cross_entropy, real_label=real_label, fake_label=fake_label))


def discriminator_cross_entropy(
    real_logits: Tensor, fake_logits: Tensor, real_label: float = 1.0, fake_label: float = 0.0
) -> Tensor:
    """-E log D(x) - E log(1 - D(G(z))): what D descends (Goodfellow et al. 2014, arXiv:1406.2661, equation 1).

    2 log 2 = 1.386 where D cannot tell; 0 where it is sure and right. With a real_label a below 1 a real costs
    -a log D - (1 - a) log(1 - D), with a fake_label above 0 a fake likewise: label smoothing (Salimans et al. 2016,
    arXiv:1606.03498, section 3.4).
    """
    return cross_entropy(real_logits, real_label) + cross_entropy(fake_logits, fake_label)


def cross_entropy(logits: Tensor, label: float) -> Tensor:
    """-label log D - (1 - label) log(1 - D), the mean over (N,)."""
    if label == 1.0:
        return F.softplus(-logits).mean()
    if label == 0.0:
        return F.softplus(logits).mean()
    return (label * F.softplus(-logits) + (1.0 - label) * F.softplus(logits)).mean()


def minimax_generator(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """E log(1 - D(G(z))), which G descends (Goodfellow et al. 2014, equation 1).

    -log 2 = -0.693 where D cannot tell. Its gradient in the logit is -D(G(z)): it fades where D is sure of the fakes.
    """
    return -F.softplus(fake_logits).mean()


def non_saturating_generator(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """-E log D(G(z)), which G descends (Goodfellow et al. 2014, section 3): "label the fakes real".

    log 2 = 0.693 where D cannot tell. Its gradient in the logit is D(G(z)) - 1: strongest where D is sure of them.
    """
    return F.softplus(-fake_logits).mean()


def discriminator_least_squares(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """1/2 E (D(x) - 1)^2 + 1/2 E D(G(z))^2, D without a sigmoid (Mao et al. 2017, arXiv:1611.04076, equation 9)."""
    return ((real_logits - 1.0).square().mean() + fake_logits.square().mean()) / 2


def least_squares_generator(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """1/2 E (D(G(z)) - 1)^2 (Mao et al. 2017, equation 9)."""
    return (fake_logits - 1.0).square().mean() / 2


def critic_wasserstein(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E D(G(z)) - E D(x): minus the distance that the critic sees (Arjovsky et al. 2017, arXiv:1701.07875, eq. 2)."""
    return fake_logits.mean() - real_logits.mean()


def negated_critic(fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """-E D(G(z)): G's loss in the Wasserstein game (Arjovsky et al. 2017, theorem 3) and in the hinge game."""
    return -fake_logits.mean()


def discriminator_hinge(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))) (Lim and Ye 2017, arXiv:1705.02894; Miyato et al. 2018, eq. 16).

    2 where D cannot tell; 0 where every real is above 1 and every fake below -1.
    """
    return F.relu(1.0 - real_logits).mean() + F.relu(1.0 + fake_logits).mean()


def discriminator_relativistic(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-E log sigmoid(D(x) - D(G(z))), real and fake in pairs (Jolicoeur-Martineau 2018, arXiv:1807.00734, RpGAN).

    log 2 = 0.693 where D cannot tell. A pair shares its label where there are labels.
    """
    return F.softplus(fake_logits - real_logits).mean()


def relativistic_generator(fake_logits: Tensor, real_logits: Tensor | None) -> Tensor:
    """-E log sigmoid(D(G(z)) - D(x)): the pair swapped, on fresh reals (Huang et al. 2024, arXiv:2501.05441)."""
    assert real_logits is not None
    return F.softplus(real_logits - fake_logits).mean()


def sign_accuracy(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Right is the sign of the logit: D(x) > 1/2 for a real, D(G(z)) < 1/2 for a fake. A logit of 0 is wrong."""
    return _right(real_logits > 0, fake_logits < 0)


def half_accuracy(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Right is nearer to one's own target, 1 for a real and 0 for a fake."""
    return _right(real_logits > 0.5, fake_logits < 0.5)


def midpoint_accuracy(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Right is one's own side of the middle between the two means: a critic's zero means nothing."""
    middle = (real_logits.mean() + fake_logits.mean()) / 2
    return _right(real_logits > middle, fake_logits < middle)


def pair_accuracy(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Right is D(x) > D(G(z)) in a pair."""
    return (real_logits > fake_logits).float().mean()


def _right(reals: Tensor, fakes: Tensor) -> Tensor:
    return (reals.float().mean() + fakes.float().mean()) / 2


LOSSES: Final[dict[LossKind, Loss]] = {
    "minimax": Loss(d=discriminator_cross_entropy, g=minimax_generator, d_accuracy=sign_accuracy),
    "non_saturating": Loss(d=discriminator_cross_entropy, g=non_saturating_generator, d_accuracy=sign_accuracy),
    "least_squares": Loss(d=discriminator_least_squares, g=least_squares_generator, d_accuracy=half_accuracy),
    "wasserstein": Loss(d=critic_wasserstein, g=negated_critic, d_accuracy=midpoint_accuracy),
    "hinge": Loss(d=discriminator_hinge, g=negated_critic, d_accuracy=sign_accuracy),
    "relativistic": Loss(d=discriminator_relativistic, g=relativistic_generator, d_accuracy=pair_accuracy),
}
