"""One job: how far it is, how it does, what it draws, and what may be asked of it."""

from __future__ import annotations

import json as text
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from nicegui import ui
from starlette.responses import Response

from api.ui import frame, words
from api.ui.panels.checkpoints import CheckpointsPanel
from api.ui.panels.curves import CurvesPanel, QualityPanel
from api.ui.panels.findings import FindingsPanel
from api.ui.panels.previews import PreviewsPanel
from api.ui.panels.samples import SamplesPanel
from api.ui.sessions import Desk, Sessions
from gantry.client import ENDED, Json, stopping

_SECONDS: Final = 2.0
_SAVE: Final = "save"
_SCRATCH: Final = "scratch"
# In the order of the page: name, icon. Saving moves a job nowhere, and so is not among the actions that it allows.
_ACTIONS: Final = {
    _SAVE: ("Save a checkpoint", "save"),
    "pause": ("Pause", "pause"),
    "resume": ("Resume", "play_arrow"),
    "retry": ("Retry", "replay"),
    _SCRATCH: ("Retry from scratch", "restart_alt"),
    "cancel": ("Cancel", "stop"),
    "delete": ("Delete", "delete"),
}
# What cannot be undone is asked twice.
_ASKED_AGAIN: Final = {
    "cancel": ("Cancel this job? It ends for good; what it has learnt is kept.", "Yes, cancel it"),
    "delete": ("Delete this job? Its curves, pictures and checkpoints go with it, for good.", "Yes, delete it"),
}
_TOLD: Final = "It was told; it saves a checkpoint first."
_SAVED: Final = "It was told; the checkpoint is in the list within seconds."


class Panel(Protocol):
    """A part of the page."""

    def refresh(self, job: Json) -> Awaitable[None]: ...


def register(sessions: Sessions) -> None:
    @ui.page("/jobs/{job_id}", title="Job – Gantry", response_timeout=30)
    async def job(job_id: str) -> Response | None:
        return await frame.page(sessions, "", lambda session: _build(session, job_id))


async def _build(session: Desk, job_id: str) -> None:
    job = await session.ask(session.client.job, job_id)
    classes = await session.ask(session.client.classes, job_id)
    ui.page_title(f"{words.title(job)} – Gantry")
    frame.heading(words.title(job), job["id"] if job["name"] else "")
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
    # Last: like every timer, the one inside of it has the page sent as it is at the next await.
    with ui.expansion("The whole spec").classes("w-full"):
        ui.code(text.dumps(job["spec"], indent=2, ensure_ascii=False), language="json").classes("w-full")

    async def refresh() -> bool:
        now = await session.ask(session.client.job, job_id)
        for panel in panels:
            await panel.refresh(now)
        return now["status"] not in ENDED

    timer = frame.pulse(session, _SECONDS, refresh)
    if job["status"] in ENDED:
        timer.deactivate()


class JobHeader:
    """Status, progress and actions."""

    def __init__(self, session: Desk, job: Json) -> None:
        self._session, self._job_id = session, job["id"]
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
        self._offer(offered(job))

    def _offer(self, actions: list[str]) -> None:
        # Only when something changed: else a button would go away under a finger.
        if actions == self._offered:
            return
        self._offered = actions
        self._actions.clear()
        with self._actions:
            for action in actions:
                name, icon = _ACTIONS[action]
                ui.button(name, icon=icon, on_click=self._doing(action)).props("outline")

    def _doing(self, action: str) -> Callable[[], Awaitable[None]]:
        async def do() -> None:
            if action not in _ASKED_AGAIN or await frame.sure(*_ASKED_AGAIN[action]):
                await frame.telling(lambda: self._do(action))()

        return do

    async def _do(self, action: str) -> None:
        client, job_id = self._session.client, self._job_id
        if action == "delete":
            await self._session.ask(client.delete, job_id)
            ui.navigate.to("/")
        elif action in ("retry", _SCRATCH):
            job = await self._session.ask(client.retry, job_id, from_scratch=action == _SCRATCH)
            ui.navigate.to(f"/jobs/{job['id']}")
        elif action == _SAVE:
            await self._session.ask(client.save_checkpoint, job_id)
            ui.notify(_SAVED)
        else:
            asked = {"pause": client.pause, "resume": client.resume, "cancel": client.cancel}
            job = await self._session.ask(asked[action], job_id)
            if stopping(job):
                ui.notify(_TOLD)
            await self.refresh(job)


def offered(job: Json) -> list[str]:
    """What may be asked of the job on its page."""
    allowed = set(job["allowed_actions"])
    if job["status"] == "running" and not stopping(job):
        allowed.add(_SAVE)
    if "retry" in allowed and job["last_checkpoint_id"]:
        allowed.add(_SCRATCH)
    return [action for action in _ACTIONS if action in allowed]


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
