"""What health remembers of the losses: blocks of steps with their medians, and what is counted step by step.

A function of the rows alone: how many come at once changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from gan.adversarial.alternation import updates_of, updates_per_epoch
from gan.spec.catalog import DatasetInfo
from gan.spec.fields import TrainSpec

Rows = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int64]

KEPT: Final = ("loss_d", "d_accuracy", "real_logit", "fake_logit", "grad_norm_g")
# Blocks a window: a median of this many medians is near the median of the steps.
_BLOCKS: Final = 40
_SHORTEST: Final = 10


class LossBlock(NamedTuple):
    """Steps `first` to `last` in which G moved and all was finite: medians, and D's mean accuracy."""

    first: int
    last: int
    loss_d: float
    d_accuracy: float
    real_logit: float
    fake_logit: float
    grad_norm_g: float


class LossCurves:
    """The last two windows of the losses. `window` is in steps."""

    def __init__(self, spec: TrainSpec, info: DatasetInfo) -> None:
        limits = spec.safeguards.thresholds
        self._spec, self._limits = spec, limits
        self._epoch = updates_per_epoch(info.num_images, spec.batch_size)
        self.window = max(1, min(limits.window_steps, round(limits.window_share * spec.total_steps)))
        self.warm = warm_up_steps(spec)
        """The last step that counts for nothing: of the warm-up, or the last one before a roll back."""
        self._size = max(_SHORTEST, self.window // _BLOCKS)
        self.step = 0
        self.blocks: list[LossBlock] = []
        self.most_g = 0.0
        """The largest median of G's gradient norm in any block so far."""
        self.bad: list[int] = []
        """Steps that were not finite, of the last `non_finite_steps`."""
        self.steep: dict[str, int | None] = {"g": None, "d": None}
        """Since which step a player's gradient norm has been too large, at every update; None: it is not."""
        self._pending: list[list[float]] = []

    def add(self, first_step: int, names: Sequence[str], values: npt.NDArray[np.float32]) -> None:
        """Rows (n, len(names)) of the steps from `first_step` on."""
        steps = np.arange(first_step, first_step + len(values))
        columns = {name: values[:, i].astype(np.float64) for i, name in enumerate(names)}
        finite = np.isfinite(values).all(axis=1)
        moved_d, moved_g = self._moved(steps)
        self.step = first_step + len(values) - 1
        recent = self.step - self._limits.non_finite_steps
        self.bad = [step for step in [*self.bad, *steps[~finite].tolist()] if step > recent]
        for player, moved in (("d", moved_d), ("g", moved_g)):
            late = moved & (steps > self.warm)
            self._climb(player, steps[late], columns[f"grad_norm_{player}"][late])
        kept = finite & moved_g
        self._pending += np.column_stack([steps, *(columns[name] for name in KEPT)])[kept].tolist()
        self._close_blocks()

    def since(self, steps: int) -> list[LossBlock]:
        """The blocks of the last `steps` steps, all after the warm-up; none where there are not that many yet."""
        first = self.step - steps + 1
        return [b for b in self.blocks if b.first >= first] if first > self.warm else []

    def last(self, steps: int) -> int:
        """`steps`, or a window where that is shorter."""
        return min(steps, self.window)

    def rolled_back(self, step: int) -> None:
        """Other weights go on after `step`: what came before says nothing of them."""
        self.warm = max(self.warm, step)
        self.blocks, self.bad, self._pending = [], [], []
        self.steep = {"g": None, "d": None}

    def state(self) -> dict[str, Any]:
        """Plain values, all of them."""
        return {
            "step": self.step,
            "warm": self.warm,
            "blocks": [list(block) for block in self.blocks],
            "most_g": self.most_g,
            "bad": list(self.bad),
            "steep": dict(self.steep),
            "pending": [list(row) for row in self._pending],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """What `state` gave."""
        self.step, self.warm, self.most_g = state["step"], state["warm"], state["most_g"]
        self.blocks = [LossBlock(*block) for block in state["blocks"]]
        self.bad, self.steep = list(state["bad"]), dict(state["steep"])
        self._pending = [list(row) for row in state["pending"]]

    def _moved(self, steps: Steps) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Which steps D moved in, and which G: an idle player's gradient norm is no evidence."""
        alternation = self._spec.alternation
        if alternation.unit == "step":
            everywhere = np.ones(len(steps), dtype=bool)
            return everywhere, everywhere
        turns = np.array([updates_of(alternation, int(step), self._epoch) for step in steps]).reshape(-1, 2)
        return turns[:, 0] > 0, turns[:, 1] > 0

    def _climb(self, player: str, steps: Steps, norms: Rows) -> None:
        if not len(steps):
            return
        # A norm that is not a number is not small.
        small = np.flatnonzero(norms <= self._limits.divergence_gradient)
        if len(small) == 0:
            self.steep[player] = self.steep[player] or int(steps[0])
        else:
            after = int(small[-1]) + 1
            self.steep[player] = int(steps[after]) if after < len(steps) else None

    def _close_blocks(self) -> None:
        """Make blocks of the pending rows whose last step is past; they lie on multiples of the size."""
        open_from = self.step // self._size * self._size
        rows = np.array(self._pending).reshape(-1, 1 + len(KEPT))
        closed = rows[rows[:, 0] <= open_from]
        self._pending = rows[len(closed) :].tolist()
        numbers = (closed[:, 0].astype(np.int64) - 1) // self._size
        for number in np.unique(numbers).tolist():
            block = self._block(number, closed[numbers == number, 1:])
            self.blocks.append(block)
            self.most_g = max(self.most_g, block.grad_norm_g)
        self.blocks = [b for b in self.blocks if b.last > self.step - 2 * self.window]

    def _block(self, number: int, rows: Rows) -> LossBlock:
        loss_d, _, real_logit, fake_logit, grad_norm_g = np.median(rows, axis=0).tolist()
        first = number * self._size + 1
        accuracy = float(rows[:, KEPT.index("d_accuracy")].mean())
        return LossBlock(first, first + self._size - 1, loss_d, accuracy, real_logit, fake_logit, grad_norm_g)


def warm_up_steps(spec: TrainSpec) -> int:
    """Steps in which nothing but `non_finite` is found: the later of share and images, at most `warm_up_most`."""
    limits = spec.safeguards.thresholds
    wanted = max(limits.warm_up_share * spec.total_steps, limits.warm_up_images / spec.images_per_step)
    return math.ceil(min(wanted, limits.warm_up_most * spec.total_steps))
