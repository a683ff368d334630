"""Bodies and assignments in YAML have the types of JSON, and each field once."""

from __future__ import annotations

from typing import Any

import pytest

from gantry.assignments import AssignmentError, YAMLError, assign, problem_of, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("learning_rate: 2e-4", {"learning_rate": 2e-4}),
        ("\ufeffname: a\r\nseed: 1\r\n", {"name": "a", "seed": 1}),
        ("name: 2026-11-30", {"name": "2026-11-30"}),
    ],
)
def test_what_yaml_says(text: str, value: Any) -> None:
    assert read_yaml(text) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("seed: 1\nname: a\nseed: 2\n", 'line 3: found duplicate key "seed"'),
        ('{"optimizers": {"g": 1, "g": 2}}', 'line 1: found duplicate key "g"'),
        ("a: 1\n---\nb: 2\n", "line 2: but found another document"),
        ("a:\n\tb: 1", "line 2: found character"),
        ("? [1, 2]\n: 3", "(1, 2) cannot be the name of a field"),
        ("1: 2", "1 cannot be the name of a field; write it in quotes"),
        ("rate: .nan", "nan is not a number that a field can have"),
        ("a: !!binary aGk=", "bytes is not a type that a field can have"),
        ("a: &a [*a]", "contains itself"),
    ],
)
def test_what_no_body_can_have_is_one_line(text: str, problem: str) -> None:
    with pytest.raises(YAMLError) as refused:
        read_yaml(text)
    assert problem in problem_of(refused.value) and "\n" not in problem_of(refused.value)


def test_a_doubled_key_in_an_assignment_is_refused() -> None:
    with pytest.raises(AssignmentError, match='found duplicate key "a"'):
        assign({}, "optimizers={a: 1, a: 2}")
    body: dict[str, Any] = {}
    assign(body, "name=2026-11-30")
    assert body == {"name": "2026-11-30"}
