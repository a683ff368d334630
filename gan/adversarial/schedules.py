"""What changes over a run: factors of learning rates and penalties, and fading noise, by the share that is done."""

from __future__ import annotations

import math

from gan.spec.fields import Schedule


def factor(schedule: Schedule, final: float, share: float) -> float:
    """From 1 at share 0 to `final` at share 1: in a straight line, or along half a cosine wave
    (Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5).
    """
    if schedule == "constant":
        return 1.0
    left = 1.0 - share if schedule == "linear" else (1.0 + math.cos(math.pi * share)) / 2
    return final + (1.0 - final) * left


def faded(start: float, until: float, share: float) -> float:
    """From `start` in a straight line to 0 at the share `until`, and 0 from there on."""
    return start * max(0.0, 1.0 - share / until)
