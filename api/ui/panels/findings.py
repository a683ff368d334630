"""The verdict on the training, and what would cure it."""

from __future__ import annotations

from nicegui import ui

from api.ui import frame, words
from gantry.client import Json


class FindingsPanel:
    """The findings that hold, each with its remedy as a way to the form."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._shown: Json | None = None
        with frame.panel():
            frame.section("Health")
            self._place = ui.column().classes("w-full gap-3")

    async def refresh(self, job: Json) -> None:
        # Only when something changed: else a button would go away under a finger.
        if job["health"] == self._shown:
            return
        self._shown = job["health"]
        self._place.clear()
        with self._place:
            frame.badge(job["health"]["verdict"], frame.VERDICT_COLOURS)
            if not job["health"]["findings"]:
                ui.label(_nothing(job["health"]["verdict"]))
            for finding in job["health"]["findings"]:
                self._finding(finding)

    def _finding(self, finding: Json) -> None:
        with frame.panel():
            with ui.row().classes("items-center gap-2"):
                frame.badge(finding["severity"], frame.VERDICT_COLOURS)
                ui.label(finding["code"]).classes("font-semibold")
                ui.label(f"since step {words.count(finding['began_at_step'])}").classes("gantry-dim")
            ui.label(finding["message"]).classes("break-words")
            for seen in finding["evidence"]:
                limit = f", threshold {words.figure(seen['threshold'])}"
                ui.label(f"{seen['metric']}: {words.figure(seen['value'])}{limit}").classes("gantry-dim text-sm")
            for remedy in finding["remedy"]:
                field = remedy["pointer"].strip("/").replace("/", ".")
                ui.label(f"{field} = {words.value(remedy['value'])}. {remedy['why']}").classes("text-sm break-words")
            if finding["remedy"]:
                target = f"/submit?from={self._job_id}&remedy={finding['code']}"
                ui.button("New job with this remedy", icon="healing", on_click=lambda: ui.navigate.to(target))


def _nothing(verdict: str) -> str:
    return "Nobody has looked yet." if verdict == "unknown" else "Nothing was found that holds."
