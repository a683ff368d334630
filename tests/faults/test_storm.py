"""A short storm on each profile, with the faults that are named here; `make faults` runs long ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import storm
from tests.faults.fleet import Profile
from tests.faults.injection import SHARED, TARGETED
from tests.faults.storm import StormPlan

EMBEDDED = ("kill trainer", "kill api", "freeze worker", "flush broker", "kill worker", "kill relay")
PRODUCTION = ("kill trainer", "kill postgres", "kill supervisor", "black-hole database", "kill broker", "save now")


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("profile", "script"),
    [
        ("embedded", EMBEDDED),
        pytest.param("production", PRODUCTION, marks=pytest.mark.postgres),
    ],
)
def test_a_short_storm_loses_and_doubles_no_step(profile: Profile, script: tuple[str, ...], tmp_path: Path) -> None:
    lines: list[str] = []
    # So many steps that jobs still train if the machine pauses for seconds.
    chosen = StormPlan(profile, jobs=4, faults=0, seed=1, steps=1500, workers=2, pause_seconds=2, script=script)
    outcome = storm.run(chosen, tmp_path, lines.append)
    assert outcome.violations == [], "\n".join(lines)
    assert outcome.accepted == 4 and outcome.history is not None
    assert outcome.history.finished == outcome.history.bit_equal == 4
    targeted = sum(name in TARGETED for name in script)
    assert outcome.in_mid_training == targeted, "\n".join(lines)
    # Faults of running trainers have cost attempts.
    assert outcome.history.attempts > 4


def test_the_same_seed_draws_the_same_faults() -> None:
    assert StormPlan("production", 1, 50, seed=7).names == StormPlan("production", 1, 50, seed=7).names
    assert StormPlan("production", 1, 50, seed=7).names != StormPlan("production", 1, 50, seed=8).names


def test_a_long_storm_draws_every_fault_of_its_profile() -> None:
    assert set(StormPlan("production", 1, 2_000, seed=1).names) == TARGETED.keys() | SHARED.keys()
    here = {name for name, fault in SHARED.items() if "embedded" in fault.profiles}
    assert set(StormPlan("embedded", 1, 2_000, seed=1).names) == TARGETED.keys() | here
