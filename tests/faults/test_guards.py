"""Each guard is proven by its removal: exactly the test of that guard fails.

With all guards in place all tests pass: `test_directed.py` is part of the suite.
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
_TEST_OF_GUARD: Final = {
    "fencing": "test_a_zombie_writes_nothing",
    "republisher": "test_a_hint_that_the_broker_lost_is_sent_again_and_the_job_runs",
    "order": "test_a_crash_right_after_a_checkpoint_leaves_no_gap",
}


@pytest.mark.timeout(400)
def test_without_a_guard_only_its_test_fails(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "tests.faults.guards", str(tmp_path)]
    done = subprocess.run(argv, cwd=_ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert GUARDS.keys() == _TEST_OF_GUARD.keys()
    for guard, test in _TEST_OF_GUARD.items():
        cases = list(ElementTree.parse(tmp_path / f"{guard}.xml").iter("testcase"))
        failed = {_name(case) for case in cases if len(case)}
        passed = {_name(case) for case in cases} - failed
        assert failed == {test} and passed == set(_TEST_OF_GUARD.values()) - failed, (guard, done.stdout)


def _name(case: ElementTree.Element) -> str:
    return str(case.get("name")).partition("[")[0]
