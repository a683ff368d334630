"""The remedies of findings, applied to the spec of their job."""

from __future__ import annotations

from typing import Any

import pytest

from gan.spec import fields_of
from gantry.remedies import NoSuchFindingError, remedied


def _job(*remedies: dict[str, Any]) -> dict[str, Any]:
    spec = {
        "seed": 3,
        "loss": {"kind": "minimax"},
        "penalties": [{"kind": "r1", "weight": 1.0}],
        "labels": {"a/b": "old"},
    }
    findings = [{"code": "found", "remedy": list(remedies)}, {"code": "equilibrium", "remedy": []}]
    return {"spec": spec, "health": {"findings": findings}}


def _set(pointer: str, value: Any) -> dict[str, Any]:
    return {"pointer": pointer, "value": value, "why": "So."}


def test_each_field_is_replaced_and_the_job_does_not_change() -> None:
    job = _job(_set("/loss/kind", "hinge"), _set("/penalties", []), _set("/stabilizers/real_label", 0.9))
    body = remedied(job, ["found"])
    assert body == {
        "seed": 3,
        "loss": {"kind": "hinge"},
        "penalties": [],
        "labels": {"a/b": "old"},
        "stabilizers": {"real_label": 0.9},
    }
    assert job == _job(*job["health"]["findings"][0]["remedy"])


def test_a_pointer_may_lead_into_a_list_and_through_odd_names() -> None:
    body = remedied(_job(_set("/penalties/0/weight", 5.0), _set("/labels/a~1b", "new")), ["found"])
    assert body["penalties"] == [{"kind": "r1", "weight": 5.0}] and body["labels"] == {"a/b": "new"}
    assert fields_of("/a~01/b") == ["a~1", "b"]


def test_without_a_code_the_spec_does_not_change() -> None:
    assert remedied(_job(_set("/seed", 4)), []) == _job()["spec"]


@pytest.mark.parametrize("code", ["nope", "equilibrium"])
def test_the_error_for_an_unknown_finding_names_those_with_a_remedy(code: str) -> None:
    with pytest.raises(NoSuchFindingError, match=r"it has: found\."):
        remedied(_job(_set("/seed", 4)), [code])
