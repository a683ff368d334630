"""A curve as small as a word: both losses of a job, without axes, as SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from api.ui.charts import LOSSES, PALETTE, Series

POINTS: Final = 60
_WIDE, _TALL = 96, 36


def draw(series: Mapping[str, Series]) -> str:
    """The losses that `series` has; gaps are drawn over."""
    curves = [[(x, y) for x, y in series.get(name, ()) if x is not None and y is not None] for name in LOSSES]
    x = _scale([step for curve in curves for step, _ in curve], _WIDE)
    y = _scale([value for curve in curves for _, value in curve], _TALL)
    lines = "".join(
        f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="'
        + " ".join(f"{x(step):.1f},{_TALL - y(value):.1f}" for step, value in curve)
        + '"/>'
        for colour, curve in zip(PALETTE, curves, strict=False)
    )
    wide, tall = _WIDE + 2, _TALL + 2
    size = f'width="{wide}" height="{tall}" viewBox="-1 -1 {wide} {tall}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{lines}</svg>'


def _scale(values: Sequence[float], length: int) -> Callable[[float], float]:
    low, high = min(values, default=0.0), max(values, default=0.0)
    return lambda value: length * (value - low) / ((high - low) or 1.0)
