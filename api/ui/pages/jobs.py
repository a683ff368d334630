"""The first page: the live list of all jobs."""

from __future__ import annotations

import time
from typing import Final

from nicegui import ui
from starlette.responses import Response

from api.ui import formatting, frame, tables
from api.ui.sessions import BrowserSession, Sessions
from gantry.client import ENDED, Json
from gantry.terminal.details import verdict_text

_SECONDS: Final = 2.0
_THUMB_SECONDS: Final = 10
_PAGE_SIZE: Final = 50
_ANY_STATUS: Final = "any status"
_COLUMNS: Final = {
    "title": ("Job", tables.LINK),
    "preview": ("Preview", tables.IMAGE),
    "losses": ("Losses", tables.SPARK),
    "status": ("Status", tables.BADGE),
    "progress": ("Progress", tables.BAR),
    "rate": ("Rate", tables.TEXT),
    "eta": ("Time left", tables.TEXT),
    "health": ("Health", tables.BADGE),
    "created": ("Submitted", tables.TEXT),
}


def register(sessions: Sessions) -> None:
    """Register the page."""

    @ui.page("/", title="Jobs – Gantry", response_timeout=30)
    async def jobs() -> Response | None:
        return await frame.page(sessions, "Jobs", _build)


async def _build(session: BrowserSession) -> None:
    page = await session.call(session.client.jobs, limit=_PAGE_SIZE)
    frame.heading("Jobs")
    _JobsPage(session, page).build()


class _JobsPage:
    """The table of jobs, its filter and its paging."""

    def __init__(self, session: BrowserSession, page: Json) -> None:
        self._session, self._shown = session, page
        self._root = frame.mounted("")
        # The cursors of the earlier pages and of the current one.
        self._cursors: list[str | None] = [None]

    def build(self) -> None:
        with ui.column().classes("w-full") as self._no_jobs:
            frame.show_empty("No job yet. A job trains one GAN on one data set.", "Submit the first job", "/submit")
        with ui.column().classes("w-full gap-3") as self._content:
            with ui.row().classes("items-center gap-3"):
                self._status = ui.select(
                    [_ANY_STATUS, *frame.STATUS_COLOURS], value=_ANY_STATUS, label="Status"
                ).classes("w-40")
                self._compare_button = ui.button("Compare", icon="stacked_line_chart", on_click=self._compare)
                ui.button("New job", icon="add", on_click=lambda: ui.navigate.to("/submit"))
            self._no_match = ui.label("No job has this status.").props("role=status")
            self._table = tables.table("Jobs", _COLUMNS, [], selection="multiple")
            with ui.row().classes("items-center gap-3") as self._paging:
                self._newer = ui.button("Newer", icon="chevron_left", on_click=frame.notifying(self._previous_page))
                self._page_number = ui.label().props("role=status")
                self._older = ui.button("Older", icon="chevron_right", on_click=frame.notifying(self._next_page))
        for button in (self._newer, self._older):
            button.props("outline")
        self._compare_button.tooltip("Select two or more jobs")
        self._table.on_select(self._update_compare_button)
        self._status.on_value_change(frame.notifying(self._first_page))
        self._update_compare_button()
        self._show(self._shown)
        frame.poll(self._session, _SECONDS, self._refresh)

    def _show(self, page: Json) -> None:
        self._shown = page
        number, filtered = len(self._cursors), self._status.value != _ANY_STATUS
        # Keep the paging buttons on a later page that has become empty.
        found = bool(page["data"]) or number > 1
        self._no_jobs.visible, self._content.visible = not found and not filtered, found or filtered
        self._no_match.visible = filtered and not found
        self._paging.visible = number > 1 or page["has_more"]
        self._newer.set_enabled(number > 1)
        self._older.set_enabled(page["has_more"])
        self._page_number.set_text(f"Page {number}")
        self._table.show([row(job, self._root) for job in page["data"]])

    async def _refresh(self) -> bool:
        cursor, status = self._cursors[-1], self._status.value
        page = await self._fetch(cursor, status)
        # The visitor may have changed page or filter during the call.
        if (cursor, status) == (self._cursors[-1], self._status.value):
            self._show(page)
        return True

    async def _fetch(self, cursor: str | None, status: str) -> Json:
        options = {"status": None if status == _ANY_STATUS else status, "cursor": cursor}
        filters = {name: value for name, value in options.items() if value is not None}
        return await self._session.call(self._session.client.jobs, limit=_PAGE_SIZE, **filters)

    async def _first_page(self) -> None:
        self._cursors = [None]
        await self._refresh()

    async def _next_page(self) -> None:
        if self._shown["has_more"]:
            self._cursors.append(self._shown["next_cursor"])
            await self._refresh()

    async def _previous_page(self) -> None:
        self._cursors[1:] = self._cursors[1:-1]
        await self._refresh()

    def _compare(self) -> None:
        ui.navigate.to("/compare?jobs=" + ",".join(job["id"] for job in self._table.selected))

    def _update_compare_button(self) -> None:
        self._compare_button.set_enabled(len(self._table.selected) >= 2)


def row(job: Json, root: str = "") -> tables.Row:
    """Return a job as a table row; `root` is the mount path of the dashboard."""
    progress, ended = job["progress"], job["status"] in ENDED
    # A new URL makes the browser load the image again, and only a job that runs has new images.
    at = int(time.time() // _THUMB_SECONDS) if job["status"] == "running" else f"{job['status']}-{progress['step']}"
    return {
        "id": job["id"],
        "title": formatting.job_title(job),
        "href": f"{root}/jobs/{job['id']}",
        "preview": f"{root}/thumbs/{job['id']}?at={at}",
        "losses": f"{root}/sparks/{job['id']}?at={at}",
        "status": job["status"],
        "status_colour": frame.STATUS_COLOURS.get(job["status"], "blue-grey-7"),
        "status_why": formatting.status_reason(job),
        "progress": formatting.steps_done(job),
        "fraction": progress["fraction"],
        "rate": formatting.NO_VALUE if ended else formatting.rate(progress["images_per_second"]),
        "eta": formatting.duration(progress["eta_seconds"]),
        "health": verdict_text(job["health"]),
        "health_colour": frame.VERDICT_COLOURS.get(job["health"]["verdict"], "blue-grey-7"),
        "created": formatting.ago(job["created_at"]),
    }
