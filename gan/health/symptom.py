"""The result of one health rule: a symptom, from which a finding is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gan.findings import Code, FindingEvidence, Severity

UNINFORMATIVE_LABELS: Final = "uninformative labels"
"""The `cause` of a `conditioning_ignored` symptom where a classifier cannot learn the classes from the labels."""


@dataclass(frozen=True)
class Symptom:
    """What a rule returns when its condition holds: a finding without its remedy and its history."""

    code: Code
    severity: Severity
    began_at_step: int
    """The first step that the evidence covers."""
    message: str
    evidence: tuple[FindingEvidence, ...]
    cause: str | None = None
    """Which of several causes it is, where the remedy depends on the cause."""
