"""What ECharts is told to draw: plain dictionaries, so that they can be read and tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from api.ui import words
from gantry.client import Json
from gantry.quality import shown

Series = Sequence[Sequence[float | None]]
"""[step, value] pairs."""

LOSSES: Final = ("loss_d", "loss_g")
ACCURACY: Final = "d_accuracy"
NAMES: Final = {"loss_d": "D loss", "loss_g": "G loss", "d_accuracy": "D accuracy"}

# Seen on white and on black alike; told apart by those who see few colours (Okabe and Ito).
PALETTE: Final = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f"]
_INK: Final = "#7a808a"
_GRID: Final = "rgba(128, 128, 128, 0.2)"
_TAG: Final = {"color": "#222", "backgroundColor": "rgba(255, 255, 255, 0.85)", "padding": [2, 4]}
_SEVERITY: Final = {"info": "#56b4e9", "warning": "#e69f00", "critical": "#d52b1e"}


def curves(series: Mapping[str, Series], findings: Sequence[Json] = (), *, log: bool = False) -> dict[str, Any]:
    """Both losses, and D's accuracy on an axis of its own; each finding a line where it began."""
    drawn = [_line(NAMES.get(name, name), series[name]) for name in LOSSES if name in series]
    if ACCURACY in series:
        # Behind the losses: it is as restless as they are.
        faint = {"yAxisIndex": 1, "z": 1, "lineStyle": {"width": 1, "opacity": 0.5}}
        drawn.append(_line(NAMES[ACCURACY], series[ACCURACY]) | faint)
    if drawn:
        drawn[0]["markLine"] = _marks(findings)
    right = {**_axis("D accuracy"), "min": 0, "max": 1, "splitLine": {"show": False}}
    return _frame(drawn, [{**_axis("loss"), "type": "log" if log else "value", "scale": True}, right])


def compared(series: Mapping[str, Series], name: str, *, log: bool = False) -> dict[str, Any]:
    """One curve of several jobs; `series` is by the job's title."""
    left = {**_axis(NAMES.get(name, name)), "type": "log" if log else "value", "scale": True}
    return _frame([_line(title, points) for title, points in series.items()], [left])


def quality(evaluations: Sequence[Json], names: Sequence[str]) -> dict[str, Any]:
    """Figures of quality over steps; the distances, which know no upper end, on an axis of their own."""
    rows = sorted(evaluations, key=lambda e: e["step"])
    drawn = []
    for name in names:
        points = [[row["step"], row["metrics"].get(name)] for row in rows]
        distance = shown(name).lower_is_better
        drawn.append(_line(name, points) | {"showSymbol": True, "yAxisIndex": 0 if distance else 1})
    right = {**_axis("share"), "splitLine": {"show": False}}
    return _frame(drawn, [{**_axis("distance"), "scale": True}, right])


def in_words(series: Mapping[str, Series]) -> str:
    """A chart for those who do not see it: where each curve begins and ends."""
    said = []
    for name, points in series.items():
        seen = [(step, y) for step, y in points if y is not None]
        if seen:
            (first, begin), (last, end) = seen[0], seen[-1]
            label = NAMES.get(name, name)
            said.append(f"{label}: {words.figure(begin)} at step {first}, {words.figure(end)} at step {last}.")
    return " ".join(said) or "No points yet."


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
            "lineStyle": {"color": _SEVERITY.get(finding["severity"], _INK), "type": "dashed"},
            "label": {"formatter": finding["code"], "position": "insideEndTop", **_TAG},
        }
        for finding in findings
    ]
    return {"symbol": "none", "data": lines, "animation": False}


def _axis(name: str) -> dict[str, Any]:
    return {
        "type": "value",
        "name": name,
        "nameTextStyle": {"color": _INK},
        "axisLabel": {"color": _INK},
        "splitLine": {"lineStyle": {"color": _GRID}},
    }


def _frame(series: list[dict[str, Any]], axes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "color": PALETTE,
        "animation": False,
        "textStyle": {"fontFamily": "inherit"},
        "legend": {"top": 0, "type": "scroll", "textStyle": {"color": _INK}},
        "grid": {"left": 8, "right": 24, "top": 56, "bottom": 64, "containLabel": True},
        "tooltip": {"trigger": "axis"},
        "xAxis": {**_axis("step"), "nameLocation": "middle", "nameGap": 24, "min": "dataMin", "max": "dataMax"},
        "yAxis": axes,
        "dataZoom": [{"type": "inside"}, {"type": "slider", "bottom": 4, "height": 20}],
        "series": series,
    }
