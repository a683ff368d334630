"""Health findings as plain values: an observation, its evidence and its remedy. They convert to JSON and back.

`gan.health` makes them; the trainer emits them, and the database and the HTTP API store and show them unchanged.
"""

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
UnknownReason = Literal["not_checked", "still_learning", "not_measured"]
"""Why a verdict is unknown: no check has run yet; the images are not good enough yet, or not evaluated yet; the spec
has no evaluations."""

SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "critical")
"""All severities, from the mildest to the worst."""


@dataclass(frozen=True)
class FindingEvidence:
    """One measured value, and the threshold that it has crossed."""

    metric: str
    value: float
    threshold: float


@dataclass(frozen=True)
class HealthSummary:
    """The verdict on a run in one sentence."""

    verdict: Verdict
    message: str
    """What a person would see in the images, or the message of the worst finding."""
    reason: UnknownReason | None = None
    """Why the verdict is unknown; None if it is not."""
    missing: tuple[FindingEvidence, ...] = ()
    """The figures of the last evaluation that are too low for the verdict healthy, each with what it needs."""

    def to_json(self) -> dict[str, Any]:
        """Return the summary as dicts, lists and plain values."""
        plain = asdict(self)
        return plain | {"missing": list(plain["missing"])}


@dataclass(frozen=True)
class SpecChange:
    """One change to the body of `POST /v1/jobs`: the field, its new value, and the reason.

    `pointer` is an RFC 6901 pointer such as "/optimizers/g/learning_rate". `value` replaces the field as a whole.
    """

    pointer: str
    value: Any
    why: str


@dataclass(frozen=True)
class HealthFinding:
    """One observation about a training run.

    The changes in `remedy` belong together: a spec with all of them applied passes validation.
    """

    code: Code
    severity: Severity
    began_at_step: int
    """The first step that the evidence covers."""
    found_at_step: int
    """The step at which the rule was evaluated."""
    message: str
    evidence: tuple[FindingEvidence, ...]
    remedy: tuple[SpecChange, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the finding as dicts, lists and plain values."""
        plain = asdict(self)
        return plain | {"evidence": list(plain["evidence"]), "remedy": list(plain["remedy"])}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> HealthFinding:
        """Rebuild a finding from the output of `to_json`."""
        evidence = tuple(FindingEvidence(**one) for one in values["evidence"])
        remedy = tuple(SpecChange(**one) for one in values["remedy"])
        return cls(**{**values, "evidence": evidence, "remedy": remedy})


def remedied(body: Mapping[str, Any], finding: HealthFinding) -> dict[str, Any]:
    """Return a copy of `body` with the remedy of `finding` applied, ready to be posted."""
    return applied(body, finding.remedy)


def applied(body: Mapping[str, Any], changes: Iterable[SpecChange]) -> dict[str, Any]:
    """Return a copy of `body` with each field that `changes` point at replaced as a whole."""
    new = deepcopy(dict(body))
    for change in changes:
        put(new, change.pointer, deepcopy(change.value))
    return new
