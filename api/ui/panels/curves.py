"""Both losses and D's accuracy, with the findings where they began; and the figures of quality."""

from __future__ import annotations

from typing import Any, Final

from nicegui import ui

from api.ui import charts, frame, words
from api.ui.sessions import Desk
from gantry.client import Json
from gantry.quality import shown

_NAMES: Final = (*charts.LOSSES, charts.ACCURACY)


class CurvesPanel:
    """The chart of the losses."""

    def __init__(self, session: Desk) -> None:
        self._session = session
        self._series: dict[str, Any] = {}
        self._findings: list[Json] = []
        with frame.panel():
            with ui.row().classes("w-full items-center justify-between"):
                frame.section("Losses")
                self._log = ui.switch("Log scale", on_change=self._draw)
            self._none = ui.label("No step yet: the curves begin with the first.").props("role=status")
            self._chart = frame.chart()
            self._note = ui.label("A log scale has no place for values at or below 0.").classes("gantry-dim text-sm")
        self._draw()

    async def refresh(self, job: Json) -> None:
        self._series = await self._session.curves(job["id"], _NAMES)
        self._findings = job["health"]["findings"]
        self._draw()

    def _draw(self) -> None:
        series = self._series
        self._none.visible, self._chart.visible = not series, bool(series)
        self._note.visible = bool(series) and self._log.value
        frame.draw(self._chart, charts.curves(series, self._findings, log=self._log.value), charts.in_words(series))


class QualityPanel:
    """How good the images were, evaluation by evaluation."""

    def __init__(self, session: Desk) -> None:
        self._session = session
        with frame.panel():
            frame.section("Quality")
            self._none = ui.label("No evaluation yet.").props("role=status")
            self._best = ui.column().classes("w-full")
            self._chart = frame.chart("18rem")
            with ui.expansion("What the figures rest on").classes("w-full") as self._rest:
                self._provenance = ui.label().classes("break-words whitespace-pre-wrap text-sm")

    async def refresh(self, job: Json) -> None:
        client = self._session.client
        found = await self._session.ask(lambda: list(client.evaluations(job["id"])))
        self._none.visible = not found
        self._best.visible = self._chart.visible = self._rest.visible = bool(found)
        if not found:
            return
        best = next((e for e in found if e["is_best"]), found[0])
        self._best.clear()
        with self._best:
            ui.label(f"Best at step {words.count(best['step'])}; in brackets, what held-out real images reach.")
            frame.facts(figures(best["metrics"], best["reference"]))
        names = [name for name in dict.fromkeys(name for e in found for name in e["metrics"]) if shown(name).drawn]
        curves = {n: [[e["step"], e["metrics"].get(n)] for e in reversed(found)] for n in names}
        frame.draw(self._chart, charts.quality(found, names), charts.in_words(curves))
        rows = (f"{name}: {words.value(value)}" for name, value in best["provenance"].items())
        self._provenance.set_text("\n".join(rows))


def figures(metrics: dict[str, float | None], reference: dict[str, float | None]) -> dict[str, str]:
    """An evaluation in words, beside what real images reach."""
    facts = {}
    for name, value in metrics.items():
        metric = shown(name)
        label = f"{metric.label} (lower is better)" if metric.lower_is_better else metric.label
        real = f" ({words.figure(reference[name])})" if name in reference else ""
        facts[label] = f"{words.figure(value)}{real}"
    return facts
