"""The options of the ECharts charts, as plain dictionaries that tests can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from api.ui import formatting
from gantry import palette
from gantry.client import Json
from gantry.quality import shown

Series = Sequence[Sequence[float | None]]
"""[step, value] pairs; a value of None is a gap."""

LOSSES: Final = ("loss_d", "loss_g")
ACCURACY: Final = "d_accuracy"
NAMES: Final = {"loss_d": "D loss", "loss_g": "G loss", "d_accuracy": "D accuracy"}

# Grey stands for the last colour of the palette, which is black: black lines cannot be seen on a dark page.
PALETTE: Final = [*palette.COLOURS[:-1], "#7f7f7f"]
_TEXT_COLOUR: Final = "#7a808a"
_GRID_COLOUR: Final = "rgba(128, 128, 128, 0.2)"
_MARK_LABEL: Final = {"color": "#222", "backgroundColor": "rgba(255, 255, 255, 0.85)", "padding": [2, 4]}
_SEVERITY: Final = {"info": "#56b4e9", "warning": "#e69f00", "critical": "#d52b1e"}


def curves(series: Mapping[str, Series], findings: Sequence[Json] = (), *, log: bool = False) -> dict[str, Any]:
    """Return a chart of both losses, and of D's accuracy on its own axis. Vertical lines mark findings."""
    drawn = [_line(NAMES.get(name, name), series[name]) for name in LOSSES if name in series]
    if ACCURACY in series:
        # Thin, pale and behind the losses, because the accuracy is as noisy as they are.
        thin_line = {"yAxisIndex": 1, "z": 1, "lineStyle": {"width": 1, "opacity": 0.5}}
        drawn.append(_line(NAMES[ACCURACY], series[ACCURACY]) | thin_line)
    if drawn:
        drawn[0]["markLine"] = _marks(findings)
    right = {**_axis("D accuracy"), "min": 0, "max": 1, "splitLine": {"show": False}}
    return _options(drawn, [{**_axis("loss"), "type": "log" if log else "value", "scale": True}, right])


def compared(series: Mapping[str, Series], name: str, *, log: bool = False) -> dict[str, Any]:
    """Return a chart of the curve `name` of several jobs. `series` maps the title of each job to its points."""
    left = {**_axis(NAMES.get(name, name)), "type": "log" if log else "value", "scale": True}
    return _options([_line(title, points) for title, points in series.items()], [left])


def quality(evaluations: Sequence[Json], names: Sequence[str]) -> dict[str, Any]:
    """Return a chart of quality metrics over steps. Distances have no upper bound, so they have their own axis."""
    rows = sorted(evaluations, key=lambda e: e["step"])
    drawn = []
    for name in names:
        points = [[row["step"], row["metrics"].get(name)] for row in rows]
        distance = shown(name).lower_is_better
        drawn.append(_line(name, points) | {"showSymbol": True, "yAxisIndex": 0 if distance else 1})
    right = {**_axis("share"), "splitLine": {"show": False}}
    return _options(drawn, [{**_axis("distance"), "scale": True}, right])


def describe(series: Mapping[str, Series]) -> str:
    """Return a text alternative of a chart: the first and the last value of each curve."""
    sentences = []
    for name, points in series.items():
        known = [(step, y) for step, y in points if y is not None]
        if known:
            (first, begin), (last, end) = known[0], known[-1]
            label = NAMES.get(name, name)
            sentences.append(
                f"{label}: {formatting.number(begin)} at step {first}, {formatting.number(end)} at step {last}."
            )
    return " ".join(sentences) or "No points yet."


def _line(name: str, points: Series) -> dict[str, Any]:
    return {
        "name": name,
        "type": "line",
        "data": [list(point) for point in points],
        "showSymbol": len(points) == 1,
        "connectNulls": False,
        "lineStyle": {"width": 1.5},
        "emphasis": {"focus": "series"},
    }


def _marks(findings: Sequence[Json]) -> dict[str, Any]:
    lines = [
        {
            "xAxis": finding["began_at_step"],
            "name": finding["code"],
            "lineStyle": {"color": _SEVERITY.get(finding["severity"], _TEXT_COLOUR), "type": "dashed"},
            "label": {"formatter": finding["code"], "position": "insideEndTop", **_MARK_LABEL},
        }
        for finding in findings
    ]
    return {"symbol": "none", "data": lines, "animation": False}


def _axis(name: str) -> dict[str, Any]:
    return {
        "type": "value",
        "name": name,
        "nameTextStyle": {"color": _TEXT_COLOUR},
        "axisLabel": {"color": _TEXT_COLOUR},
        "splitLine": {"lineStyle": {"color": _GRID_COLOUR}},
    }


def _options(series: list[dict[str, Any]], axes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "color": PALETTE,
        "animation": False,
        "textStyle": {"fontFamily": "inherit"},
        "legend": {"top": 0, "type": "scroll", "textStyle": {"color": _TEXT_COLOUR}},
        "grid": {"left": 8, "right": 24, "top": 56, "bottom": 64, "containLabel": True},
        "tooltip": {"trigger": "axis"},
        "xAxis": {**_axis("step"), "nameLocation": "middle", "nameGap": 24, "min": "dataMin", "max": "dataMax"},
        "yAxis": axes,
        # No zoom of the type "inside": it takes the wheel and the finger, which are to scroll the page.
        "dataZoom": [{"type": "slider", "bottom": 4, "height": 20}],
        "series": series,
    }
