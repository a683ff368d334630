"""Schedules of learning rates, penalty weights and noise, as functions of the share of the run that is done."""

from __future__ import annotations

import math

from gan.spec.fields import Schedule


def schedule_factor(schedule: Schedule, final: float, share: float) -> float:
    """Return a factor that goes from 1 at share 0 to `final` at share 1; "constant" is always 1.

    "linear" is a straight line, "cosine" half a wave (Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5).
    """
    if schedule == "constant":
        return 1.0
    remaining = 1.0 - share if schedule == "linear" else (1.0 + math.cos(math.pi * share)) / 2
    return final + (1.0 - final) * remaining


def linear_fade(start: float, until: float, share: float) -> float:
    """Return a value that falls in a straight line from `start` to 0 at share `until`, and is 0 after that."""
    return start * max(0.0, 1.0 - share / until)
