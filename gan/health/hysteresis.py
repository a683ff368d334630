"""Hysteresis of one rule: when its symptom becomes a finding, and when that finding ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gan.findings import SEVERITIES, HealthFinding
from gan.health.symptom import Symptom

MakeFinding = Callable[[Symptom], HealthFinding]


@dataclass
class Hysteresis:
    """The recent results of one rule, and the finding that it has raised."""

    finding: HealthFinding | None = None
    """The finding of this rule while it holds; None otherwise."""
    held: int = 0
    """The number of consecutive checks with a symptom, up to the last one."""
    since: int = 0
    """The step at which the evidence of these checks began."""
    quiet: int = 0
    """The number of consecutive checks without a symptom that is at least as severe as the finding."""

    def update(self, symptom: Symptom | None, confirm: int, quiet_checks: int, make_finding: MakeFinding) -> None:
        """Take the result of one check of the rule.

        `confirm` consecutive checks with a symptom raise a finding. A symptom of the same severity refreshes message,
        evidence and remedy of the finding. A more severe symptom replaces the finding at once. After `quiet_checks`
        consecutive checks without a symptom as severe as the finding, the finding ends, or a milder symptom of the
        last check replaces it.
        """
        if symptom is None:
            self.held = 0
        else:
            self.since = self.since if self.held else symptom.began_at_step
            self.held += 1
        if self.finding is None:
            if symptom is not None and self.held >= confirm:
                self.finding, self.quiet = make_finding(_since(symptom, self.since)), 0
            return
        before = self.finding
        if symptom is not None and is_worse(symptom.severity, before.severity):
            self.finding, self.quiet = make_finding(_since(symptom, before.began_at_step)), 0
        elif symptom is not None and symptom.severity == before.severity:
            new = make_finding(_since(symptom, before.began_at_step))
            self.finding, self.quiet = replace(new, found_at_step=before.found_at_step), 0
        else:
            self._count_quiet_check(before, symptom, quiet_checks, make_finding)

    def _count_quiet_check(
        self, before: HealthFinding, symptom: Symptom | None, quiet_checks: int, make_finding: MakeFinding
    ) -> None:
        self.quiet += 1
        if self.quiet < quiet_checks:
            return
        self.finding = None if symptom is None else make_finding(_since(symptom, before.began_at_step))
        self.quiet = 0

    def state(self) -> dict[str, Any]:
        """Return the state as plain values for a checkpoint."""
        finding = None if self.finding is None else self.finding.to_json()
        return {"finding": finding, "held": self.held, "since": self.since, "quiet": self.quiet}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Hysteresis:
        """Rebuild the object from the output of `state`."""
        finding = None if state["finding"] is None else HealthFinding.from_json(state["finding"])
        return cls(finding, state["held"], state["since"], state["quiet"])


def is_worse(one: str, other: str) -> bool:
    """Return whether severity `one` is above severity `other`."""
    order: tuple[str, ...] = SEVERITIES
    return order.index(one) > order.index(other)


def _since(symptom: Symptom, began: int) -> Symptom:
    """Return the symptom with its evidence beginning at `began`, unless it began earlier by itself."""
    return replace(symptom, began_at_step=min(began, symptom.began_at_step))
