"""The games that G and D play: pure functions of D's logits. They return terms to minimise; only the trainer steps.

D's output is a logit l, and D(x) = sigmoid(l(x)). In terms of softplus(t) = log(1 + exp(t)), which does not overflow:
    -log D = softplus(-l)        -log(1 - D) = softplus(l)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import torch.nn.functional as F
from torch import Tensor

Kind = Literal["minimax", "non_saturating"]


@dataclass(frozen=True)
class Loss:
    """One game. Every function takes logits (N,) in fp32 and returns a scalar; both losses are to be minimised."""

    d: Callable[[Tensor, Tensor], Tensor]
    """(real_logits, fake_logits) -> D's loss."""
    g: Callable[[Tensor], Tensor]
    """fake_logits -> G's loss."""
    d_accuracy: Callable[[Tensor, Tensor], Tensor]
    """(real_logits, fake_logits) -> the share that D is right about, 0..1; what "right" means is the game's own."""


def discriminator_cross_entropy(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-E log D(x) - E log(1 - D(G(z))): what D descends (Goodfellow et al. 2014, arXiv:1406.2661, equation 1).

    2 log 2 = 1.386 where D cannot tell; 0 where it is sure and right.
    """
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def minimax_generator(fake_logits: Tensor) -> Tensor:
    """E log(1 - D(G(z))), which G descends (Goodfellow et al. 2014, equation 1).

    -log 2 = -0.693 where D cannot tell. Its gradient in the logit is -D(G(z)): it fades where D is sure of the fakes.
    """
    return -F.softplus(fake_logits).mean()


def non_saturating_generator(fake_logits: Tensor) -> Tensor:
    """-E log D(G(z)), which G descends (Goodfellow et al. 2014, section 3): "label the fakes real".

    log 2 = 0.693 where D cannot tell. Its gradient in the logit is D(G(z)) - 1: strongest where D is sure of them.
    """
    return F.softplus(-fake_logits).mean()


def sign_accuracy(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Right is the sign of the logit: D(x) > 1/2 for a real, D(G(z)) < 1/2 for a fake. A logit of 0 is wrong."""
    return ((real_logits > 0).float().mean() + (fake_logits < 0).float().mean()) / 2


LOSSES: Final[dict[Kind, Loss]] = {
    "minimax": Loss(d=discriminator_cross_entropy, g=minimax_generator, d_accuracy=sign_accuracy),
    "non_saturating": Loss(d=discriminator_cross_entropy, g=non_saturating_generator, d_accuracy=sign_accuracy),
}
