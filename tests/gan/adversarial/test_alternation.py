"""The alternation of updates of D and G, written as a string such as "DDDDDG"."""

from __future__ import annotations

import pytest

from gan.adversarial.alternation import updates_of, updates_per_epoch
from gan.spec.fields import AlternationSpec


@pytest.mark.parametrize(
    ("fields", "steps", "expected"),
    [
        ({}, 3, "DGDGDG"),
        ({"d_steps": 5}, 2, "DDDDDGDDDDDG"),
        ({"d_steps": 1, "g_steps": 2}, 2, "DGGDGG"),
        ({"unit": "odd_even"}, 6, "DGDGDG"),
        ({"unit": "epoch"}, 9, "DDDGGGDDD"),
        ({"unit": "epoch", "d_steps": 2}, 10, "DDDDDDGGGD"),
    ],
)
def test_the_order_of_updates(fields: dict[str, object], steps: int, expected: str) -> None:
    spec = AlternationSpec(**fields)  # type: ignore[arg-type]
    updates = (updates_of(spec, step, updates_per_epoch=3) for step in range(1, steps + 1))
    assert "".join("D" * u.d + "G" * u.g for u in updates) == expected


def test_an_epoch_has_enough_updates_to_show_every_image() -> None:
    assert [updates_per_epoch(n, 64) for n in (64, 65, 5_000)] == [1, 2, 79]
