"""`gantry presets`."""

from __future__ import annotations

from jobs.runtime.settings import Settings
from tests.gantry.command import gantry


def test_presets_are_listed_and_one_is_shown(served: Settings) -> None:
    listed = gantry("presets", settings=served).stdout
    assert "Conditional DCGAN (the default)" in listed and "wgan-gp" in listed
    shown = gantry("presets", "wgan-gp", settings=served).stdout
    assert "arXiv:1704.00028" in shown and "Five updates of the critic" in shown
    refused = gantry("presets", "nine", settings=served)
    assert refused.returncode == 1 and "There is no preset 'nine'" in refused.stderr
