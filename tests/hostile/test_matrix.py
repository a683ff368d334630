"""The rows of the matrix that need no patience, against a real service; `make hostile` throws all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile import barrage
from tests.hostile.rows import matrix


@pytest.mark.timeout(600)
def test_every_row_is_answered_as_it_is_to_be(tmp_path: Path) -> None:
    rows = [row for row in matrix() if not row.slow]
    lines: list[str] = []
    outcome = barrage.run(rows, tmp_path, lines.append, quiet_seconds=0.5, each=len(rows))
    assert outcome.wrong == [], "\n".join(lines)
    assert outcome.too_large == [] and outcome.left == [] and outcome.lost == []
    assert outcome.busy[0].processor > 0, "the job went on"


def test_the_matrix_has_every_kind_and_no_row_twice() -> None:
    rows = matrix()
    assert len({(row.kind, row.name) for row in rows}) == len(rows) > 100
    assert all(row.wanted for row in rows) and sum(row.slow for row in rows) <= 3
