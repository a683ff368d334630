"""What a rule sees: a sign, from which a finding is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gan.findings import Code, FindingEvidence, Severity

LABELS_SAY_NOTHING: Final = "labels say nothing"


@dataclass(frozen=True)
class Symptom:
    """A rule holds."""

    code: Code
    severity: Severity
    began_at_step: int
    message: str
    evidence: tuple[FindingEvidence, ...]
    cause: str | None = None
    """Which of several causes it is, where the remedy depends on it."""
