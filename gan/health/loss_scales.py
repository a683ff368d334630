"""What the figures of one game say: where D cannot tell, where it has won, and where G has.

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
    """How to read one game."""

    chance: float | None
    """D's loss where it cannot tell; None where the loss has no such value."""
    won: str | None
    """The threshold, by name, of D's loss below which D has won; None where the loss has no floor."""
    opinion: Callable[[float, float], float]
    """Means of (real_logit, fake_logit) -> what D makes of the fakes: 0 surely fake, 1 surely real. Where it nears 1,
    G's loss nears its floor."""


def _sigmoid(logit: float) -> float:
    return 1.0 / (1.0 + math.exp(-max(-700.0, logit)))


def _of_cross_entropy(real_logit: float, fake_logit: float) -> float:
    return _sigmoid(fake_logit)


def _of_pairs(real_logit: float, fake_logit: float) -> float:
    return _sigmoid(fake_logit - real_logit)


def _of_targets_0_and_1(real_logit: float, fake_logit: float) -> float:
    return fake_logit


def _of_margins(real_logit: float, fake_logit: float) -> float:
    """hinge: D pushes fakes below -1 and reals above 1."""
    return (1.0 + fake_logit) / 2.0


def _of_a_critic(real_logit: float, fake_logit: float) -> float:
    """wasserstein: only which side is higher says anything."""
    return 1.0 if fake_logit > real_logit else 0.0


_CROSS_ENTROPY: Final = LossScale(2 * math.log(2), "vanishing_d_loss", _of_cross_entropy)

SCALES: Final[dict[LossKind, LossScale]] = {
    "minimax": _CROSS_ENTROPY,
    "non_saturating": _CROSS_ENTROPY,
    "least_squares": LossScale(0.25, "vanishing_d_loss_least_squares", _of_targets_0_and_1),
    "wasserstein": LossScale(None, None, _of_a_critic),
    "hinge": LossScale(2.0, "vanishing_d_loss", _of_margins),
    "relativistic": LossScale(math.log(2), "vanishing_d_loss", _of_pairs),
}
