"""The alternation of D and G. It depends on the number of the step alone, so a resumed run needs nothing else."""

from __future__ import annotations

import math
from typing import NamedTuple

from gan.spec.fields import AlternationSpec


class Updates(NamedTuple):
    """The numbers of updates of D and of G in one step; D's come first."""

    d: int
    g: int


def updates_of(spec: AlternationSpec, step: int, updates_per_epoch: int) -> Updates:
    """Return the updates in `step`, which counts from 1.

    With the units "epoch" and "odd_even" a step is one update of one network.
    """
    match spec.unit:
        case "step":
            return Updates(spec.d_steps, spec.g_steps)
        case "odd_even":
            return Updates(1, 0) if step % 2 else Updates(0, 1)
        case "epoch":
            d_updates, g_updates = spec.d_steps * updates_per_epoch, spec.g_steps * updates_per_epoch
            return Updates(1, 0) if (step - 1) % (d_updates + g_updates) < d_updates else Updates(0, 1)


def updates_per_epoch(num_images: int, batch_size: int) -> int:
    """Return how many updates show every image once; the last batch may continue into the next epoch."""
    return math.ceil(num_images / batch_size)
