"""Arguments of the client's methods: ids in paths, and one value or several."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gantry
from gantry.arguments import as_list, path_of


@pytest.mark.parametrize(
    ("segments", "path"),
    [
        (("jobs", "job_1", "cancel"), "/v1/jobs/job_1/cancel"),
        (("jobs", "job_1\r"), "/v1/jobs/job_1"),
        (("datasets", "a b/c?d#e%f"), "/v1/datasets/a%20b%2Fc%3Fd%23e%25f"),
        (("datasets", "日"), "/v1/datasets/%E6%97%A5"),
        (("jobs", "a\nb"), "/v1/jobs/a%0Ab"),
        (("jobs", "caf\udce9"), "/v1/jobs/caf%3F"),
    ],
)
def test_every_segment_of_a_path_is_quoted(segments: tuple[str, ...], path: str) -> None:
    assert path_of(*segments) == path


@pytest.mark.parametrize(
    ("given", "expected"),
    [("10", ["10"]), (3, [3]), (0, [0]), (None, []), ((), []), (["a", "b"], ["a", "b"]), ({"a": 1}.keys(), ["a"])],
)
def test_one_value_is_a_list_of_one(given: Any, expected: list[Any]) -> None:
    assert as_list(given) == expected
    assert as_list(iter(expected)) == expected


def _pasted() -> Iterator[str]:
    """Yield each f-string of the client that begins with a path of the API and has a value in it."""
    for file in sorted(Path(gantry.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            first = node.values[0] if isinstance(node, ast.JoinedStr) else None
            if isinstance(first, ast.Constant) and str(first.value).startswith("/v1/"):
                yield f"{file.name}:{node.lineno}"  # type: ignore[attr-defined]


def test_no_path_of_the_api_is_pasted_together() -> None:
    assert list(_pasted()) == []
