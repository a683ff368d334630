"""schemathesis against a real service, a few dozen cases an operation at most; `make fuzz` has thousands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile import barrage, checks, fuzz


@pytest.mark.timeout(600)
def test_nothing_is_found_in_a_few_hundred_cases(tmp_path: Path) -> None:
    with barrage.service(tmp_path) as (target, _):
        fuzz.send_workers_home(target)
        assert fuzz.run(target, examples=2, seed=1) == 0, "what was found stands above"


@pytest.mark.parametrize(
    ("errors", "found"),
    [
        ([{"pointer": "/cursor", "code": "bad-cursor"}], 0),
        ([{"pointer": "/format", "code": "not-one-of"}], 0),
        ([{"pointer": "/batch_size", "code": "out-of-range"}, {"pointer": "/dataset", "code": "unknown-dataset"}], 1),
    ],
)
def test_a_refusal_that_the_document_should_have_told_is_seen(errors: list[dict[str, str]], found: int) -> None:
    assert len(checks.without_excuse(422, {"code": "invalid-parameters", "errors": errors})) == found
    assert checks.without_excuse(400, {"code": "malformed-json"}) == [("", "malformed-json")]
