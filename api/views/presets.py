"""Presets as response bodies."""

from __future__ import annotations

from api.schemas.presets import PresetView
from gan.spec import DEFAULT_PRESET, PRESETS, preset_spec


def preset_view(name: str) -> PresetView:
    """Return the preset with this name, which must exist."""
    preset = PRESETS[name]
    return PresetView(
        name=name,
        title=preset.title,
        summary=preset.summary,
        paper=preset.paper,
        reach=preset.reach,
        is_default=name == DEFAULT_PRESET,
        spec=preset_spec(name),
    )
