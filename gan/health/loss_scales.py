"""The scale of D's loss and logits under each loss: the value at chance, and how to read a win of D or of G from it.

The losses themselves are in `gan.adversarial.losses`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gan.spec.fields import LossKind


@dataclass(frozen=True)
class LossScale:
    """How to interpret D's loss and logits under one loss."""

    chance: float | None
    """D's loss where D cannot tell real from fake; None where the loss has no such value."""
    d_wins_below: str | None
    """The name of the threshold for D's loss below which D dominates; None where the loss has no lower bound."""
    opinion: Callable[[float, float], float]
    """The function (mean real logit, mean fake logit) -> D's opinion of the fakes, from 0 (surely fake) to 1 (surely
    real). Where the opinion is near 1, G's loss is near its minimum."""


def _sigmoid(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-700.0, logit)))


def _cross_entropy_opinion(real_logit: float, fake_logit: float) -> float:
    """Return D(G(z)), the probability that D gives to the fakes."""
    return _sigmoid(fake_logit)


def _relativistic_opinion(real_logit: float, fake_logit: float) -> float:
    """Return the probability that D ranks a fake above a real."""
    return _sigmoid(fake_logit - real_logit)


def _least_squares_opinion(real_logit: float, fake_logit: float) -> float:
    """Return the logit of the fakes: the targets are 0 for fakes and 1 for reals."""
    return fake_logit


def _hinge_opinion(real_logit: float, fake_logit: float) -> float:
    """Return the position of the fakes between the margins: -1 for fakes and 1 for reals."""
    return (1.0 + fake_logit) / 2.0


def _wasserstein_opinion(real_logit: float, fake_logit: float) -> float:
    """Return 1 if the critic rates the fakes above the reals, else 0: its outputs have no fixed scale."""
    return 1.0 if fake_logit > real_logit else 0.0


_CROSS_ENTROPY: Final = LossScale(2 * math.log(2), "vanishing_d_loss", _cross_entropy_opinion)

LOSS_SCALES: Final[dict[LossKind, LossScale]] = {
    "minimax": _CROSS_ENTROPY,
    "non_saturating": _CROSS_ENTROPY,
    "least_squares": LossScale(0.25, "vanishing_d_loss_least_squares", _least_squares_opinion),
    "wasserstein": LossScale(None, None, _wasserstein_opinion),
    "hinge": LossScale(2.0, "vanishing_d_loss", _hinge_opinion),
    "relativistic": LossScale(math.log(2), "vanishing_d_loss", _relativistic_opinion),
}
