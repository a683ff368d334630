"""One job: how far it is, how it does, what it draws, and what may be asked of it."""

from __future__ import annotations

import json as text
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from nicegui import ui

from api.client import ENDED, ApiError, Json, Unreachable
from api.ui import frame, words
from api.ui.desk import Desk
from api.ui.panels.checkpoints import Checkpoints
from api.ui.panels.curves import Curves, Quality
from api.ui.panels.findings import Findings
from api.ui.panels.previews import Previews
from api.ui.panels.samples import Samples

_SECONDS: Final = 2.0
_CANCEL: Final = "Cancel this job? It ends for good; what it has learnt is kept."
_ACTIONS: Final = {
    "pause": ("Pause", "pause"),
    "resume": ("Resume", "play_arrow"),
    "retry": ("Retry", "replay"),
    "cancel": ("Cancel", "stop"),
}


class Panel(Protocol):
    """A part of the page."""

    def refresh(self, job: Json) -> Awaitable[None]: ...


def register(desk: Desk) -> None:
    @ui.page("/jobs/{job_id}", title="Job – Gantry", response_timeout=30)
    async def job(job_id: str) -> None:
        await frame.page(desk, "", lambda: _build(desk, job_id))


async def _build(desk: Desk, job_id: str) -> None:
    job = await desk.ask(desk.client.job, job_id)
    classes = await desk.ask(desk.client.classes, job_id)
    ui.page_title(f"{words.title(job)} – Gantry")
    frame.heading(words.title(job), job["id"] if job["name"] else "")
    head = Head(desk, job)
    with ui.element("div").classes("w-full grid grid-cols-1 lg:grid-cols-2 gap-4"):
        with ui.column().classes("w-full gap-4 min-w-0"):
            left: list[Panel] = [Curves(desk), Quality(desk)]
        with ui.column().classes("w-full gap-4 min-w-0"):
            right: list[Panel] = [Findings(job_id), Previews(desk, job_id), Samples(desk, job, classes)]
    panels: list[Panel] = [head, *left, *right, Checkpoints(desk)]
    for panel in panels:
        await panel.refresh(job)
    # Last: like every timer, the one inside of it has the page sent as it is at the next await.
    with ui.expansion("The whole spec").classes("w-full"):
        ui.code(text.dumps(job["spec"], indent=2, ensure_ascii=False), language="json").classes("w-full")

    async def refresh() -> bool:
        now = await desk.ask(desk.client.job, job_id)
        for panel in panels:
            await panel.refresh(now)
        return now["status"] not in ENDED

    timer = frame.pulse(desk, _SECONDS, refresh)
    if job["status"] in ENDED:
        timer.deactivate()


class Head:
    """Status, progress and actions."""

    def __init__(self, desk: Desk, job: Json) -> None:
        self._desk, self._job_id = desk, job["id"]
        self._offered: list[str] | None = None
        with frame.panel():
            with ui.row().classes("w-full items-center gap-3"):
                self._status = frame.badge(job["status"], frame.STATUS_COLOURS).props("role=status aria-live=polite")
                self._reached = ui.label()
                self._actions = ui.row().classes("gap-2 ml-auto")
            self._bar = ui.linear_progress(0, show_value=False).props('aria-label="Progress" rounded')
            self._why = ui.label().classes("break-words").props("role=status")
            self._facts = ui.column().classes("w-full")
            with ui.row().classes("gap-4"):
                ui.link("New job from this spec", f"/submit?from={job['id']}").classes("gantry-link")
                ui.link("Compare", f"/compare?jobs={job['id']}").classes("gantry-link")
                if job["retry_of"]:
                    ui.link("The job it retries", f"/jobs/{job['retry_of']}").classes("gantry-link")

    async def refresh(self, job: Json) -> None:
        self._status.set_text(job["status"])
        self._status.props(f"color={frame.STATUS_COLOURS.get(job['status'], 'blue-grey-7')}")
        self._reached.set_text(words.reached(job))
        self._bar.set_value(job["progress"]["fraction"])
        self._why.set_text(words.standing(job))
        self._why.visible = bool(words.standing(job))
        self._facts.clear()
        with self._facts:
            frame.facts(facts(job))
        self._offer(job["allowed_actions"])

    def _offer(self, allowed: list[str]) -> None:
        if allowed == self._offered:
            return
        self._offered = list(allowed)
        self._actions.clear()
        with self._actions:
            for action, (name, icon) in _ACTIONS.items():
                if action in allowed:
                    ui.button(name, icon=icon, on_click=self._doing(action)).props("outline")

    def _doing(self, action: str) -> Callable[[], Awaitable[None]]:
        async def do() -> None:
            if action != "cancel" or await _sure(_CANCEL):
                await self._do(action)

        return do

    async def _do(self, action: str) -> None:
        client = self._desk.client
        asked: dict[str, Callable[[str], Json]] = {
            "pause": client.pause,
            "resume": client.resume,
            "retry": client.retry,
            "cancel": client.cancel,
        }
        try:
            job = await self._desk.ask(asked[action], self._job_id)
        except (ApiError, Unreachable) as error:
            frame.tell(error)
            return
        if action == "retry":
            ui.navigate.to(f"/jobs/{job['id']}")
            return
        if job["status"] == "running":
            ui.notify("It was told; it saves a checkpoint first.")
        await self.refresh(job)


def facts(job: Json) -> dict[str, str]:
    """The job in a few figures."""
    progress, latest = job["progress"], job["latest_metrics"]
    running = job["status"] not in ENDED
    shown: dict[str, Any] = {
        "Rate": words.rate(progress["images_per_second"]),
        "Images seen": words.count(progress["images_seen"]),
        "Time left": words.span(progress["eta_seconds"]) if running else "",
        "D loss": words.figure(latest.get("loss_d")),
        "G loss": words.figure(latest.get("loss_g")),
        "D accuracy": words.figure(latest.get("d_accuracy")),
        "Attempt": str(job["attempt"]),
        "Data set": job["spec"]["dataset"],
        "Preset": job["spec"].get("preset") or "",
        "Device": (job["worker"] or {}).get("device") or "",
        "Submitted": words.ago(job["created_at"]),
    }
    return {name: value for name, value in shown.items() if value}


async def _sure(question: str) -> bool:
    with ui.dialog() as dialog, ui.card().props("role=alertdialog"):
        ui.label(question)
        with ui.row().classes("w-full justify-end"):
            ui.button("Keep it", on_click=lambda: dialog.submit(False)).props("flat autofocus")
            ui.button("Yes, cancel it", on_click=lambda: dialog.submit(True), color="red-9")
    answer = bool(await dialog)
    dialog.delete()
    return answer
