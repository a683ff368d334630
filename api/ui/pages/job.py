"""The page of one job: progress, curves, health, previews, samples, checkpoints and actions."""

from __future__ import annotations

import json as text
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from nicegui import ui
from starlette.responses import Response

from api.ui import formatting, frame
from api.ui.panels.checkpoints import CheckpointsPanel
from api.ui.panels.curves import CurvesPanel, QualityPanel
from api.ui.panels.findings import FindingsPanel
from api.ui.panels.previews import PreviewsPanel
from api.ui.panels.samples import SamplesPanel
from api.ui.sessions import BrowserSession, Sessions
from gantry.client import ENDED, Json, stopping

_SECONDS: Final = 2.0
_SAVE: Final = "save"
_SCRATCH: Final = "scratch"
# Label and icon of each action, in the order of the page. Saving does not change the status of a job, so the API does
# not list it among `allowed_actions`.
_ACTIONS: Final = {
    _SAVE: ("Save a checkpoint", "save"),
    "pause": ("Pause", "pause"),
    "resume": ("Resume", "play_arrow"),
    "retry": ("Retry", "replay"),
    _SCRATCH: ("Retry from scratch", "restart_alt"),
    "cancel": ("Cancel", "stop"),
    "delete": ("Delete", "delete"),
}
# Actions that cannot be undone need a confirmation: question and button.
_CONFIRMATIONS: Final = {
    "cancel": ("Cancel this job? It cannot be resumed. Its checkpoints are kept.", "Yes, cancel it"),
    "delete": (
        "Delete this job? Its curves, images and checkpoints are deleted, too. This cannot be undone.",
        "Yes, delete it",
    ),
}
_STOPPING: Final = "Request accepted. The job saves a checkpoint first."
_SAVING: Final = "Request accepted. The checkpoint appears in the list within seconds."


class Panel(Protocol):
    """One part of the page."""

    def refresh(self, job: Json) -> Awaitable[None]:
        """Update the panel to the current state of the job."""
        ...


def register(sessions: Sessions) -> None:
    """Register the page."""

    @ui.page("/jobs/{job_id}", title="Job – Gantry", response_timeout=30)
    async def job(job_id: str) -> Response | None:
        return await frame.page(sessions, "", lambda session: _build(session, job_id))


async def _build(session: BrowserSession, job_id: str) -> None:
    job = await session.call(session.client.job, job_id)
    classes = await session.call(session.client.classes, job_id)
    ui.page_title(f"{formatting.job_title(job)} – Gantry")
    frame.heading(formatting.job_title(job), job["id"] if job["name"] else "")
    head = JobHeader(session, job)
    with ui.element("div").classes("w-full grid grid-cols-1 lg:grid-cols-2 gap-4"):
        with ui.column().classes("w-full gap-4 min-w-0"):
            left: list[Panel] = [CurvesPanel(session), QualityPanel(session)]
        with ui.column().classes("w-full gap-4 min-w-0"):
            right: list[Panel] = [
                FindingsPanel(job_id),
                PreviewsPanel(session, job_id),
                SamplesPanel(session, job, classes),
            ]
    panels: list[Panel] = [head, *left, *right, CheckpointsPanel(session)]
    for panel in panels:
        await panel.refresh(job)
    # This comes last: it contains a timer, and after a timer NiceGUI sends the page at the next await.
    with ui.expansion("Full spec").classes("w-full"):
        frame.code(text.dumps(job["spec"], indent=2, ensure_ascii=False))

    async def refresh() -> bool:
        current = await session.call(session.client.job, job_id)
        for panel in panels:
            await panel.refresh(current)
        return current["status"] not in ENDED

    timer = frame.poll(session, _SECONDS, refresh)
    if job["status"] in ENDED:
        timer.deactivate()


class JobHeader:
    """The panel with status, progress, facts and actions."""

    def __init__(self, session: BrowserSession, job: Json) -> None:
        self._session, self._job_id = session, job["id"]
        self._shown_actions: list[str] | None = None
        with frame.panel():
            with ui.row().classes("w-full items-center gap-3"):
                self._status = frame.badge(job["status"], frame.STATUS_COLOURS).props("role=status aria-live=polite")
                self._reached = ui.label()
                self._actions = ui.row().classes("gap-2 ml-auto")
            self._bar = ui.linear_progress(0, show_value=False).props('aria-label="Progress" rounded')
            self._reason = ui.label().classes("break-words").props("role=status")
            self._facts = frame.Facts()
            with ui.row().classes("gap-4"):
                ui.link("New job from this spec", f"/submit?from={job['id']}").classes("gantry-link")
                ui.link("Compare", f"/compare?jobs={job['id']}").classes("gantry-link")
                if job["retry_of"]:
                    ui.link("The job that this one retries", f"/jobs/{job['retry_of']}").classes("gantry-link")

    async def refresh(self, job: Json) -> None:
        """Update the panel to the current state of the job."""
        self._status.set_text(job["status"])
        if self._status.props.get("color") != (colour := frame.STATUS_COLOURS.get(job["status"], "blue-grey-7")):
            self._status.props["color"] = colour
        self._reached.set_text(formatting.steps_done(job))
        self._bar.set_value(job["progress"]["fraction"])
        self._reason.set_text(formatting.status_reason(job))
        self._reason.visible = bool(formatting.status_reason(job))
        self._facts.show(facts(job))
        self._show_actions(offered_actions(job))

    def _show_actions(self, actions: list[str]) -> None:
        # Rebuild the buttons only after a change. Otherwise one could disappear during a click.
        if actions == self._shown_actions:
            return
        self._shown_actions = actions
        self._actions.clear()
        with self._actions:
            for action in actions:
                name, icon = _ACTIONS[action]
                ui.button(name, icon=icon, on_click=self._handler(action)).props("outline")

    def _handler(self, action: str) -> Callable[[], Awaitable[None]]:
        async def handle() -> None:
            if action not in _CONFIRMATIONS or await frame.confirm(*_CONFIRMATIONS[action]):
                await frame.notifying(lambda: self._do(action))()

        return handle

    async def _do(self, action: str) -> None:
        client, job_id = self._session.client, self._job_id
        if action == "delete":
            await self._session.call(client.delete, job_id)
            ui.navigate.to("/")
        elif action in ("retry", _SCRATCH):
            job = await self._session.call(client.retry, job_id, from_scratch=action == _SCRATCH)
            ui.navigate.to(f"/jobs/{job['id']}")
        elif action == _SAVE:
            await self._session.call(client.save_checkpoint, job_id)
            ui.notify(_SAVING)
        else:
            methods = {"pause": client.pause, "resume": client.resume, "cancel": client.cancel}
            job = await self._session.call(methods[action], job_id)
            if stopping(job):
                ui.notify(_STOPPING)
            await self.refresh(job)


def offered_actions(job: Json) -> list[str]:
    """Return the actions that the page offers for the job."""
    allowed = set(job["allowed_actions"])
    if job["status"] == "running" and not stopping(job):
        allowed.add(_SAVE)
    if "retry" in allowed and job["last_checkpoint_id"]:
        allowed.add(_SCRATCH)
    return [action for action in _ACTIONS if action in allowed]


def facts(job: Json) -> dict[str, str]:
    """Return the main facts of a job by name."""
    progress, latest = job["progress"], job["latest_metrics"]
    running = job["status"] not in ENDED
    shown: dict[str, Any] = {
        "Rate": formatting.rate(progress["images_per_second"]),
        "Images seen": formatting.count(progress["images_seen"]),
        "Time left": formatting.duration(progress["eta_seconds"]) if running else "",
        "D loss": formatting.number(latest.get("loss_d")),
        "G loss": formatting.number(latest.get("loss_g")),
        "D accuracy": formatting.number(latest.get("d_accuracy")),
        "Attempt": str(job["attempt"]),
        "Data set": job["spec"]["dataset"],
        "Preset": job["spec"].get("preset") or "",
        "Device": (job["worker"] or {}).get("device") or "",
        "Submitted": formatting.ago(job["created_at"]),
    }
    return {name: value for name, value in shown.items() if value}
