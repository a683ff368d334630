"""What the benchmark of sampling makes of what it measured; it runs by itself in `make sampling`."""

from __future__ import annotations

from itertools import count

import pytest

from benchmarks import GOAL_MISSED, sampling
from benchmarks.sampling import LIMIT, SamplingRow


@pytest.mark.parametrize(("ratio", "code"), [(LIMIT - 0.1, 0), (LIMIT, 0), (LIMIT + 0.1, GOAL_MISSED)])
def test_the_exit_code_says_whether_the_goal_was_met(
    ratio: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        SamplingRow("ratio", "x", ratio, 0.5, 2.5, goal="at most 1.3"),
        SamplingRow("slow", "ms", 1000.0, 900.0, 1100.0),
    ]
    monkeypatch.setattr(sampling, "measure", lambda rounds, steps, threads: rows)
    assert sampling.main(["--threads", "1"]) == code
    first, second, _ = capsys.readouterr().out.splitlines()
    assert first == f"ratio: {ratio:.2f} x (0.50 to 2.50); goal at most 1.3"
    assert second == "slow: 1000.00 ms (900.00 to 1100.00)"


def test_half_of_the_measurements_lie_between_low_and_high() -> None:
    row = sampling._row("ratio", "x", [5.0, 1.0, 3.0, 2.0, 4.0])
    assert (row.low, row.value, row.high) == (2.0, 3.0, 4.0)


def test_every_request_asks_for_images_nobody_asked_for() -> None:
    both = object.__new__(sampling._Both)
    both._path, both._seeds = "/samples?n=8", count(0, sampling._EACH)
    (first, seed), (second, later) = both.address(), both.address()
    assert first != second and later - seed == sampling._EACH, "no seed of one is a seed of the other"
