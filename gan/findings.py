"""What health says: a finding, what it rests on, and what would cure it. Plain values that JSON carries both ways."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from gan.spec.pointers import put

Code = Literal[
    "non_finite",
    "vanishing_gradients",
    "generator_dominates",
    "mode_collapse",
    "class_collapse",
    "conditioning_ignored",
    "equilibrium",
    "past_best",
    "never_learned",
    "divergence",
    "discriminator_overfitting",
]
Severity = Literal["info", "warning", "critical"]
Verdict = Literal["unknown", "healthy", "warning", "failing"]

SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "critical")
"""From the mildest to the worst."""


@dataclass(frozen=True)
class FindingEvidence:
    """One figure, and the threshold that it is past."""

    metric: str
    value: float
    threshold: float


@dataclass(frozen=True)
class SpecChange:
    """One field of the POST body to set: an RFC 6901 pointer, its whole new value, and why."""

    pointer: str
    value: Any
    why: str


@dataclass(frozen=True)
class HealthFinding:
    """One observation about a run. `remedy` is one set: all of it together makes a spec that is taken."""

    code: Code
    severity: Severity
    began_at_step: int
    """First step of what it rests on."""
    found_at_step: int
    message: str
    evidence: tuple[FindingEvidence, ...]
    remedy: tuple[SpecChange, ...]

    def to_json(self) -> dict[str, Any]:
        """Dicts, lists and plain values."""
        plain = asdict(self)
        return plain | {"evidence": list(plain["evidence"]), "remedy": list(plain["remedy"])}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> HealthFinding:
        """What `to_json` wrote, read back."""
        evidence = tuple(FindingEvidence(**one) for one in values["evidence"])
        remedy = tuple(SpecChange(**one) for one in values["remedy"])
        return cls(**{**values, "evidence": evidence, "remedy": remedy})


def remedied(body: Mapping[str, Any], finding: HealthFinding) -> dict[str, Any]:
    """`body` with the finding's remedy applied: what to post in its place."""
    return applied(body, finding.remedy)


def applied(body: Mapping[str, Any], remedies: Iterable[SpecChange]) -> dict[str, Any]:
    """A copy of `body` in which each field that is pointed at is replaced whole."""
    new = deepcopy(dict(body))
    for remedy in remedies:
        put(new, remedy.pointer, deepcopy(remedy.value))
    return new
