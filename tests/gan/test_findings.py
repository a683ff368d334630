"""The conversion of findings to JSON and back, and the application of a remedy to a body."""

from __future__ import annotations

import json

import pytest

from gan.findings import FindingEvidence, HealthFinding, SpecChange, remedied
from gan.spec.pointers import fields_of

FINDING = HealthFinding(
    code="mode_collapse",
    severity="critical",
    began_at_step=300,
    found_at_step=400,
    message="G has collapsed.",
    evidence=(FindingEvidence("diversity", 0.05, 0.2), FindingEvidence("duplicates", 0.9, 0.5)),
    remedy=(
        SpecChange("/generator/z_dim", 64, "More room."),
        SpecChange("/penalties", [{"kind": "r1", "weight": 1.0}], "Smoother."),
        SpecChange("/optimizers/d/learning_rate", 1e-4, "Slower."),
    ),
)


def test_a_finding_survives_json() -> None:
    assert HealthFinding.from_json(json.loads(json.dumps(FINDING.to_json()))) == FINDING


def test_a_remedy_replaces_whole_fields_and_does_not_change_the_body() -> None:
    body = {"dataset": "d", "penalties": [{"kind": "r2", "weight": 3.0}, {"kind": "r1", "weight": 9.0}],
            "optimizers": {"d": {"learning_rate": 0.5, "beta1": 0.1}}}  # fmt: skip
    before = json.dumps(body)
    cured = remedied(body, FINDING)
    assert cured == {
        "dataset": "d",
        "generator": {"z_dim": 64},
        "penalties": [{"kind": "r1", "weight": 1.0}],
        "optimizers": {"d": {"learning_rate": 1e-4, "beta1": 0.1}},
    }
    assert json.dumps(body) == before
    cured["penalties"].append("more")
    assert len(FINDING.remedy[1].value) == 1


@pytest.mark.parametrize(
    ("pointer", "fields"), [("/a", ["a"]), ("/a/b", ["a", "b"]), ("/a~1b/c~0d", ["a/b", "c~d"]), ("/~01", ["~1"])]
)
def test_pointers_are_rfc_6901(pointer: str, fields: list[str]) -> None:
    assert fields_of(pointer) == fields
