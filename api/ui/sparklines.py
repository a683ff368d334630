"""Sparklines: a small SVG of both losses of a job, without axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from api.ui.charts import LOSSES, PALETTE, Series

POINTS: Final = 60
_WIDTH, _HEIGHT = 96, 36


def draw(series: Mapping[str, Series]) -> str:
    """Return the SVG of the losses in `series`. A line connects the points on both sides of a gap."""
    curves = [[(x, y) for x, y in series.get(name, ()) if x is not None and y is not None] for name in LOSSES]
    x = _scale([step for curve in curves for step, _ in curve], _WIDTH)
    y = _scale([value for curve in curves for _, value in curve], _HEIGHT)
    lines = "".join(
        f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="'
        + " ".join(f"{x(step):.1f},{_HEIGHT - y(value):.1f}" for step, value in curve)
        + '"/>'
        for colour, curve in zip(PALETTE, curves, strict=False)
    )
    width, height = _WIDTH + 2, _HEIGHT + 2
    size = f'width="{width}" height="{height}" viewBox="-1 -1 {width} {height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{lines}</svg>'


def _scale(values: Sequence[float], length: int) -> Callable[[float], float]:
    """Return the function that maps the range of `values` to 0 to `length`."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    return lambda value: length * (value - low) / ((high - low) or 1.0)
