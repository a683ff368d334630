"""schemathesis against a real service, with a few dozen cases per operation at most; `make fuzz` has thousands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile import barrage, checks, fuzz


@pytest.mark.timeout(600)
def test_a_few_hundred_cases_find_no_problem(tmp_path: Path) -> None:
    with barrage.service(tmp_path) as (target, _):
        fuzz.drain_workers(target)
        assert fuzz.run(target, examples=2, seed=1) == 0, "schemathesis printed the failures above"


@pytest.mark.parametrize(
    ("errors", "found"),
    [
        ([{"pointer": "/cursor", "code": "bad-cursor"}], 0),
        ([{"pointer": "/format", "code": "not-one-of"}], 0),
        ([{"pointer": "/batch_size", "code": "out-of-range"}, {"pointer": "/dataset", "code": "unknown-dataset"}], 1),
    ],
)
def test_a_refusal_that_a_schema_could_express_is_reported(errors: list[dict[str, str]], found: int) -> None:
    assert len(checks.schema_violations(422, {"code": "invalid-parameters", "errors": errors})) == found
    assert checks.schema_violations(400, {"code": "malformed-json"}) == [("", "malformed-json")]
