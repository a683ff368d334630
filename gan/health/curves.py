"""The loss curves as health keeps them: blocks of steps with their medians, and counters that run step by step.

The result depends on the rows alone, not on how many of them arrive at once.
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

BLOCK_METRICS: Final = ("loss_d", "d_accuracy", "real_logit", "fake_logit", "grad_norm_g")
# The median of this many block medians is close to the median over all steps of the window.
_BLOCKS_PER_WINDOW: Final = 40
_MIN_BLOCK_STEPS: Final = 10


class LossBlock(NamedTuple):
    """A summary of steps `first` to `last`: medians, and the mean of D's accuracy.

    Only steps count in which G was updated and all metrics were finite.
    """

    first: int
    last: int
    loss_d: float
    d_accuracy: float
    real_logit: float
    fake_logit: float
    grad_norm_g: float


class LossCurves:
    """The losses of the last two windows. A window is `window` steps long."""

    def __init__(self, spec: TrainSpec, info: DatasetInfo) -> None:
        limits = spec.safeguards.thresholds
        self._spec, self._limits = spec, limits
        self._updates_per_epoch = updates_per_epoch(info.num_images, spec.batch_size)
        self.window = max(1, min(limits.window_steps, round(limits.window_share * spec.total_steps)))
        self.warm_up_end = warm_up_steps(spec)
        """The last step that the rules ignore: the end of the warm-up, or the step of the last roll back."""
        self._block_steps = max(_MIN_BLOCK_STEPS, self.window // _BLOCKS_PER_WINDOW)
        self.step = 0
        """The last step so far."""
        self.blocks: list[LossBlock] = []
        self.max_grad_norm_g = 0.0
        """The largest median of G's gradient norm in any block so far."""
        self.non_finite_steps: list[int] = []
        """The steps with a value that is not finite, within the last `thresholds.non_finite_steps` steps."""
        self.large_gradient_since: dict[str, int | None] = {"g": None, "d": None}
        """For G ("g") and D ("d"): the step since which the gradient norm was too large at every update; None where
        it was not at the last update."""
        self._pending: list[list[float]] = []

    def add(self, first_step: int, names: Sequence[str], values: npt.NDArray[np.float32]) -> None:
        """Add the metrics of the steps from `first_step` on; `values` is (steps, len(names))."""
        steps = np.arange(first_step, first_step + len(values))
        columns = {name: values[:, i].astype(np.float64) for i, name in enumerate(names)}
        finite = np.isfinite(values).all(axis=1)
        d_updated, g_updated = self._updated(steps)
        self.step = first_step + len(values) - 1
        oldest = self.step - self._limits.non_finite_steps
        self.non_finite_steps = [s for s in [*self.non_finite_steps, *steps[~finite].tolist()] if s > oldest]
        for network, updated in (("d", d_updated), ("g", g_updated)):
            counted = updated & (steps > self.warm_up_end)
            if f"grad_norm_{network}" in columns:
                self._track_large_gradient(network, steps[counted], columns[f"grad_norm_{network}"][counted])
        # Rows from a checkpoint of another version may lack a metric; they enter no block.
        if columns.keys() >= set(BLOCK_METRICS):
            kept = finite & g_updated
            self._pending += np.column_stack([steps, *(columns[name] for name in BLOCK_METRICS)])[kept].tolist()
        self._close_blocks()

    def last_blocks(self, steps: int) -> list[LossBlock]:
        """Return the blocks of the last `steps` steps; none while fewer steps have passed since the warm-up."""
        first = self.step - steps + 1
        return [b for b in self.blocks if b.first >= first] if first > self.warm_up_end else []

    def at_most_window(self, steps: int) -> int:
        """Return `steps`, or the length of a window where that is shorter."""
        return min(steps, self.window)

    def add_roll_back(self, step: int) -> None:
        """Forget the curves up to `step`: training goes on from older weights, to which they do not apply."""
        self.warm_up_end = max(self.warm_up_end, step)
        self.blocks, self.non_finite_steps, self._pending = [], [], []
        self.large_gradient_since = {"g": None, "d": None}

    def state(self) -> dict[str, Any]:
        """Return the state as plain values for a checkpoint."""
        # These keys are part of the checkpoint format, so they stay as the first versions wrote them.
        return {
            "step": self.step,
            "warm": self.warm_up_end,
            "blocks": [list(block) for block in self.blocks],
            "most_g": self.max_grad_norm_g,
            "bad": list(self.non_finite_steps),
            "steep": dict(self.large_gradient_since),
            "pending": [list(row) for row in self._pending],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore the output of `state`."""
        self.step, self.warm_up_end, self.max_grad_norm_g = state["step"], state["warm"], state["most_g"]
        self.blocks = [LossBlock(*block) for block in state["blocks"]]
        self.non_finite_steps, self.large_gradient_since = list(state["bad"]), dict(state["steep"])
        self._pending = [list(row) for row in state["pending"]]

    def _updated(self, steps: Steps) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return two masks: the steps in which D was updated, and those in which G was.

        A network that is not updated in a step has a gradient norm of 0 there, which is no evidence.
        """
        alternation = self._spec.alternation
        if alternation.unit == "step":
            everywhere = np.ones(len(steps), dtype=bool)
            return everywhere, everywhere
        updates = [updates_of(alternation, int(step), self._updates_per_epoch) for step in steps]
        counts = np.array(updates).reshape(-1, 2)
        return counts[:, 0] > 0, counts[:, 1] > 0

    def _track_large_gradient(self, network: str, steps: Steps, norms: Rows) -> None:
        if not len(steps):
            return
        # NaN compares as false, so a norm that is NaN counts as large.
        small = np.flatnonzero(norms <= self._limits.divergence_gradient)
        if len(small) == 0:
            self.large_gradient_since[network] = self.large_gradient_since[network] or int(steps[0])
        else:
            after = int(small[-1]) + 1
            self.large_gradient_since[network] = int(steps[after]) if after < len(steps) else None

    def _close_blocks(self) -> None:
        """Summarise the pending rows of each block that is complete. Blocks begin at multiples of their length."""
        complete_until = self.step // self._block_steps * self._block_steps
        rows = np.array(self._pending).reshape(-1, 1 + len(BLOCK_METRICS))
        complete = rows[rows[:, 0] <= complete_until]
        self._pending = rows[len(complete) :].tolist()
        numbers = (complete[:, 0].astype(np.int64) - 1) // self._block_steps
        for number in np.unique(numbers).tolist():
            block = self._block(number, complete[numbers == number, 1:])
            self.blocks.append(block)
            self.max_grad_norm_g = max(self.max_grad_norm_g, block.grad_norm_g)
        self.blocks = [b for b in self.blocks if b.last > self.step - 2 * self.window]

    def _block(self, number: int, rows: Rows) -> LossBlock:
        """Summarise the rows (steps, len(BLOCK_METRICS)) of one block."""
        loss_d, _, real_logit, fake_logit, grad_norm_g = np.median(rows, axis=0).tolist()
        first = number * self._block_steps + 1
        accuracy = float(rows[:, BLOCK_METRICS.index("d_accuracy")].mean())
        return LossBlock(first, first + self._block_steps - 1, loss_d, accuracy, real_logit, fake_logit, grad_norm_g)


def warm_up_steps(spec: TrainSpec) -> int:
    """Return the length of the warm-up in steps, during which `non_finite` is the only finding.

    It is the larger of `warm_up_share` of the run and the steps that show D `warm_up_images` real images, but at most
    `warm_up_most` of the run.
    """
    return min(full_warm_up_steps(spec), math.ceil(spec.safeguards.thresholds.warm_up_most * spec.total_steps))


def full_warm_up_steps(spec: TrainSpec) -> int:
    """Return the length of the warm-up in a run that is long enough for all of it; it may exceed this run."""
    limits = spec.safeguards.thresholds
    return math.ceil(max(limits.warm_up_share * spec.total_steps, limits.warm_up_images / spec.images_per_step))
