"""Schedules over a run."""

from __future__ import annotations

import pytest

from gan.adversarial.schedules import linear_fade, schedule_factor


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_schedule_goes_from_one_over_the_midpoint_to_its_end(schedule: str) -> None:
    values = [schedule_factor(schedule, 0.2, share) for share in (0.0, 0.5, 1.0)]  # type: ignore[arg-type]
    assert values == pytest.approx([1.0, 0.6, 0.2])


def test_a_cosine_is_slow_at_both_ends() -> None:
    assert schedule_factor("cosine", 0.0, 0.1) > schedule_factor("linear", 0.0, 0.1)
    assert schedule_factor("cosine", 0.0, 0.9) < schedule_factor("linear", 0.0, 0.9)


def test_constant_is_always_one() -> None:
    assert {schedule_factor("constant", 1.0, share) for share in (0.0, 0.3, 1.0)} == {1.0}


def test_noise_falls_linearly_to_zero_and_stays_there() -> None:
    assert [linear_fade(0.4, 0.5, share) for share in (0.0, 0.25, 0.5, 0.9)] == pytest.approx([0.4, 0.2, 0.0, 0.0])
