"""The curves of a job: both losses and D's accuracy with markers of the findings, and the quality metrics."""

from __future__ import annotations

from typing import Any, Final

from nicegui import ui

from api.ui import charts, formatting, frame
from api.ui.sessions import BrowserSession
from gantry.client import Json
from gantry.quality import shown

_NAMES: Final = (*charts.LOSSES, charts.ACCURACY)


class CurvesPanel:
    """The chart of both losses and of D's accuracy."""

    def __init__(self, session: BrowserSession) -> None:
        self._session = session
        self._series: dict[str, Any] = {}
        self._findings: list[Json] = []
        with frame.panel():
            with ui.row().classes("w-full items-center justify-between"):
                frame.section("Losses")
                self._log = ui.switch("Log scale", on_change=self._draw)
            self._none = ui.label("No step yet. The curves begin with the first step.").props("role=status")
            self._chart = frame.chart()
            self._note = ui.label("A log scale cannot show values of 0 or below.").classes("gantry-dim text-sm")
        self._draw()

    async def refresh(self, job: Json) -> None:
        """Update the panel to the current state of the job."""
        self._series = await self._session.curves(job["id"], _NAMES)
        self._findings = job["health"]["findings"]
        self._draw()

    def _draw(self) -> None:
        series = self._series
        self._none.visible, self._chart.visible = not series, bool(series)
        self._note.visible = bool(series) and self._log.value
        frame.set_chart(
            self._chart, charts.curves(series, self._findings, log=self._log.value), charts.describe(series)
        )


class QualityPanel:
    """The quality metrics of all evaluations, and those of the best one."""

    def __init__(self, session: BrowserSession) -> None:
        self._session = session
        with frame.panel():
            frame.section("Quality")
            self._none = ui.label("No evaluation yet.").props("role=status")
            self._best = ui.label()
            self._figures = frame.Facts()
            self._chart = frame.chart("18rem")
            with ui.expansion("How the metrics were computed").classes("w-full") as self._details:
                self._provenance = ui.label().classes("break-words whitespace-pre-wrap text-sm")

    async def refresh(self, job: Json) -> None:
        """Update the panel to the current state of the job."""
        client = self._session.client
        found = await self._session.call(lambda: list(client.evaluations(job["id"])))
        self._none.visible = not found
        self._best.visible = self._chart.visible = self._details.visible = bool(found)
        if not found:
            return
        best = next((e for e in found if e["is_best"]), found[0])
        self._best.set_text(
            f"Best at step {formatting.count(best['step'])}. In brackets: the values of held-out real images."
        )
        self._figures.show(figures(best["metrics"], best["reference"]))
        names = [name for name in dict.fromkeys(name for e in found for name in e["metrics"]) if shown(name).drawn]
        curves = {n: [[e["step"], e["metrics"].get(n)] for e in reversed(found)] for n in names}
        frame.set_chart(self._chart, charts.quality(found, names), charts.describe(curves))
        rows = (f"{name}: {formatting.field_value(value)}" for name, value in best["provenance"].items())
        self._provenance.set_text("\n".join(rows))


def figures(metrics: dict[str, float | None], reference: dict[str, float | None]) -> dict[str, str]:
    """Return the metrics of an evaluation by label, each with the value of real images in brackets."""
    facts = {}
    for name, value in metrics.items():
        metric = shown(name)
        label = f"{metric.label} (lower is better)" if metric.lower_is_better else metric.label
        real = f" ({formatting.number(reference[name])})" if name in reference else ""
        facts[label] = f"{formatting.number(value)}{real}"
    return facts
