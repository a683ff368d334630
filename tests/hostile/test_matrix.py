"""The rows of the matrix that do not wait for a timeout, against a real service; `make hostile` sends all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile import barrage
from tests.hostile.rows import matrix


@pytest.mark.timeout(600)
def test_every_row_gets_the_expected_answer(tmp_path: Path) -> None:
    rows = [row for row in matrix() if not row.slow]
    lines: list[str] = []
    outcome = barrage.run(rows, tmp_path, lines.append, quiet_seconds=0.5, each=len(rows))
    assert outcome.wrong == [], "\n".join(lines)
    assert outcome.over_memory_bounds == [] and outcome.leftover_files == [] and outcome.ended_processes == []
    assert outcome.busy[0].processor > 0, "the job kept training"


def test_the_matrix_has_over_100_distinct_rows_with_expected_answers() -> None:
    rows = matrix()
    assert len({(row.kind, row.name) for row in rows}) == len(rows) > 100
    assert all(row.wanted for row in rows) and sum(row.slow for row in rows) <= 3
