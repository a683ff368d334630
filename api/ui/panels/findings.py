"""The health of a job: its verdict, its findings and their remedies."""

from __future__ import annotations

from nicegui import ui

from api.ui import formatting, frame
from gantry.client import Json


class FindingsPanel:
    """The current findings, each with a button that opens the form with its remedy."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._shown: Json | None = None
        with frame.panel():
            frame.section("Health")
            self._content = ui.column().classes("w-full gap-3")

    async def refresh(self, job: Json) -> None:
        """Update the panel to the current state of the job."""
        # Rebuild the buttons only after a change. Otherwise one could disappear during a click.
        if job["health"] == self._shown:
            return
        self._shown = job["health"]
        self._content.clear()
        with self._content:
            frame.badge(job["health"]["verdict"], frame.VERDICT_COLOURS)
            # The message of the worst finding follows with that finding.
            if job["health"]["verdict"] in ("unknown", "healthy"):
                ui.label(job["health"]["message"]).classes("break-words")
            for finding in job["health"]["findings"]:
                self._finding(finding)

    def _finding(self, finding: Json) -> None:
        with frame.panel():
            with ui.row().classes("items-center gap-2"):
                frame.badge(finding["severity"], frame.VERDICT_COLOURS)
                ui.label(finding["code"]).classes("font-semibold")
                ui.label(f"since step {formatting.count(finding['began_at_step'])}").classes("gantry-dim")
            ui.label(finding["message"]).classes("break-words")
            for evidence in finding["evidence"]:
                limit = f", threshold {formatting.number(evidence['threshold'])}"
                ui.label(f"{evidence['metric']}: {formatting.number(evidence['value'])}{limit}").classes(
                    "gantry-dim text-sm"
                )
            for remedy in finding["remedy"]:
                field = remedy["pointer"].strip("/").replace("/", ".")
                ui.label(f"{field} = {formatting.field_value(remedy['value'])}. {remedy['why']}").classes(
                    "text-sm break-words"
                )
            if finding["remedy"]:
                target = f"/submit?from={self._job_id}&remedy={finding['code']}"
                ui.button("New job with this remedy", icon="healing", on_click=lambda: ui.navigate.to(target))
