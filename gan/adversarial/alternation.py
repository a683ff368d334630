"""Who moves in which step: a function of the step's number alone, so that to resume is to know the step."""

from __future__ import annotations

import math
from typing import NamedTuple

from gan.spec.fields import AlternationSpec


class Updates(NamedTuple):
    """Updates of each player in one step, D's first."""

    d: int
    g: int


def updates_of(spec: AlternationSpec, step: int, updates_per_epoch: int) -> Updates:
    """What happens in `step`, counted from 1. Of units "epoch" and "odd_even" a step is one update of one player."""
    match spec.unit:
        case "step":
            return Updates(spec.d_steps, spec.g_steps)
        case "odd_even":
            return Updates(1, 0) if step % 2 else Updates(0, 1)
        case "epoch":
            of_d, of_g = spec.d_steps * updates_per_epoch, spec.g_steps * updates_per_epoch
            return Updates(1, 0) if (step - 1) % (of_d + of_g) < of_d else Updates(0, 1)


def updates_per_epoch(num_images: int, batch_size: int) -> int:
    """Updates until every image was shown once; the last batch reaches into the next epoch."""
    return math.ceil(num_images / batch_size)


def phases(spec: AlternationSpec, steps: int, updates_per_epoch: int) -> str:
    """The order of the first `steps` steps' updates, such as "DDDDDG"."""
    turns = (updates_of(spec, step, updates_per_epoch) for step in range(1, steps + 1))
    return "".join("D" * t.d + "G" * t.g for t in turns)
