"""Growth of measured values: it separates a generator early in training, which improves, from one that has failed.

A value below its threshold is no symptom while it still grows from one measurement to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

# A value grows when it exceeds the previous one by this factor.
GROWTH_FACTOR: Final = 1.2


class Growth:
    """The last two measurements of each metric that should grow early in training."""

    def __init__(self) -> None:
        # Metric -> (step of the last measurement, last value, value before it).
        self._known: dict[str, tuple[int, float, float | None]] = {}

    def add(self, step: int, metrics: Iterable[tuple[str, float]]) -> None:
        """Store the (name, value) pairs that were measured at `step`.

        A second measurement at the same step replaces the first one.
        """
        for name, value in metrics:
            last_step, last, before = self._known.get(name, (step, value, None))
            self._known[name] = (step, value, last if last_step < step else before)

    def still_growing(self, name: str, margin: float | None = None) -> bool:
        """Return whether the last value of `name` is well above the one before.

        That is over `GROWTH_FACTOR` times the value before. A value with an upper bound may be unable to grow by a
        factor; for such a value `margin` is the difference that counts. The result is also true while there are fewer
        than two measurements to compare.
        """
        _, value, before = self._known.get(name, (0, 0.0, None))
        if before is None:
            return True
        return value > GROWTH_FACTOR * before if margin is None else value > before + margin

    def state(self) -> dict[str, Any]:
        """Return the state as plain values for a checkpoint."""
        return {name: list(known) for name, known in self._known.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore the output of `state`."""
        self._known = {name: (step, value, before) for name, (step, value, before) in state.items()}
