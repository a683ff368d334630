"""One rule over time: when its finding is raised, and when it is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gan.findings import SEVERITIES, HealthFinding
from gan.health.symptom import Symptom

Make = Callable[[Symptom], HealthFinding]


@dataclass
class Hysteresis:
    """What one rule has said lately."""

    finding: HealthFinding | None = None
    """What it has raised, while that holds."""
    held: int = 0
    """Looks in a row at which the rule held."""
    since: int = 0
    """Where its evidence began."""
    quiet: int = 0
    """Looks in a row without evidence for the finding, or for one as severe."""

    def ask(self, sign: Symptom | None, confirm: int, quiet_looks: int, make: Make) -> None:
        """Take in what the rule sees now. A finding needs `confirm` looks to be raised, and `quiet_looks` to end."""
        if sign is None:
            self.held = 0
        else:
            self.since = self.since if self.held else sign.began_at_step
            self.held += 1
        if self.finding is None:
            if sign is not None and self.held >= confirm:
                self.finding, self.quiet = make(self._from(sign, self.since)), 0
            return
        before = self.finding
        if sign is not None and worse(sign.severity, before.severity):
            self.finding, self.quiet = make(self._from(sign, before.began_at_step)), 0
        elif sign is not None and sign.severity == before.severity:
            self.quiet = 0
        else:
            self._fall_quiet(sign, quiet_looks, make)

    def _fall_quiet(self, sign: Symptom | None, quiet_looks: int, make: Make) -> None:
        self.quiet += 1
        if self.quiet < quiet_looks:
            return
        began = self.finding.began_at_step if self.finding else 0
        self.finding, self.quiet = None if sign is None else make(self._from(sign, began)), 0

    @staticmethod
    def _from(sign: Symptom, began: int) -> Symptom:
        return Symptom(
            sign.code, sign.severity, min(began, sign.began_at_step), sign.message, sign.evidence, sign.cause
        )

    def state(self) -> dict[str, Any]:
        """Plain values."""
        finding = None if self.finding is None else self.finding.to_json()
        return {"finding": finding, "held": self.held, "since": self.since, "quiet": self.quiet}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Hysteresis:
        """What `state` gave."""
        finding = None if state["finding"] is None else HealthFinding.from_json(state["finding"])
        return cls(finding, state["held"], state["since"], state["quiet"])


def worse(one: str, other: str) -> bool:
    """Whether severity `one` is above `other`."""
    order: tuple[str, ...] = SEVERITIES
    return order.index(one) > order.index(other)
