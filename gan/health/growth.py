"""What tells a young generator from one that has failed: what is too low, but grows from look to look, is young."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

# From one look to the next, in times of what it was.
GROWS: Final = 1.2


class Growth:
    """The last two values of each figure that a rule wants to see grow."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, float, float | None]] = {}

    def note(self, step: int, figures: Iterable[tuple[str, float]]) -> None:
        """Take in what was measured at `step`."""
        for name, value in figures:
            at, last, before = self._known.get(name, (step, value, None))
            self._known[name] = (step, value, last if at < step else before)

    def young(self, name: str) -> bool:
        """Whether the last value is well above the one before, or there is none to compare it with."""
        _, value, before = self._known.get(name, (0, 0.0, None))
        return before is None or value > GROWS * before

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {name: list(known) for name, known in self._known.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """What `state` gave."""
        self._known = {name: (step, value, before) for name, (step, value, before) in state.items()}
