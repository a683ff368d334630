"""The guards are proven by removing them: each time the right test goes red, and the others stay green.

All are green with every guard in its place: `test_directed.py` is part of the suite.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import pytest

from tests.faults.guards import GUARDS

_ROOT: Final = Path(__file__).parents[2]
_CAUGHT_BY: Final = {
    "fencing": "test_a_zombie_writes_nothing",
    "republisher": "test_a_hint_that_the_broker_lost_is_sent_again_and_the_job_runs",
    "order": "test_a_crash_right_after_a_checkpoint_leaves_no_gap",
}


@pytest.mark.timeout(400)
def test_without_a_guard_the_right_test_goes_red(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "tests.faults.guards", str(tmp_path)]
    done = subprocess.run(argv, cwd=_ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert GUARDS.keys() == _CAUGHT_BY.keys()
    for guard, test in _CAUGHT_BY.items():
        cases = list(ElementTree.parse(tmp_path / f"{guard}.xml").iter("testcase"))
        red = {_name(case) for case in cases if len(case)}
        green = {_name(case) for case in cases} - red
        assert red == {test} and green == set(_CAUGHT_BY.values()) - red, (guard, done.stdout)


def _name(case: ElementTree.Element) -> str:
    return str(case.get("name")).partition("[")[0]
