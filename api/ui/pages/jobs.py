"""The first page: every job, live."""

from __future__ import annotations

import time
from typing import Final

from nicegui import ui
from starlette.responses import Response

from api.ui import frame, tables, words
from api.ui.sessions import Desk, Sessions
from gantry.client import ENDED, Json

_SECONDS: Final = 2.0
_THUMB_SECONDS: Final = 10
_A_PAGE: Final = 50
_ANY: Final = "any status"
_COLUMNS: Final = {
    "title": ("Job", tables.LINK),
    "preview": ("Preview", tables.PICTURE),
    "losses": ("Losses", tables.SPARK),
    "status": ("Status", tables.BADGE),
    "progress": ("Progress", tables.BAR),
    "rate": ("Rate", tables.TEXT),
    "eta": ("Time left", tables.TEXT),
    "health": ("Health", tables.BADGE),
    "created": ("Submitted", tables.TEXT),
}


def register(sessions: Sessions) -> None:
    @ui.page("/", title="Jobs – Gantry", response_timeout=30)
    async def jobs() -> Response | None:
        return await frame.page(sessions, "Jobs", _build)


async def _build(session: Desk) -> None:
    page = await session.ask(session.client.jobs, limit=_A_PAGE)
    frame.heading("Jobs")
    _JobsPage(session, page).build()


class _JobsPage:
    """The table, and which stretch of the list it shows."""

    def __init__(self, session: Desk, page: Json) -> None:
        self._session, self._shown = session, page
        self._root = frame.address("")
        # The cursors of the pages before this one, and this one's.
        self._cursors: list[str | None] = [None]

    def build(self) -> None:
        with ui.column().classes("w-full") as self._nothing:
            frame.empty("No job yet. A job trains one GAN on one data set.", "Submit the first one", "/submit")
        with ui.column().classes("w-full gap-3") as self._something:
            with ui.row().classes("items-center gap-3"):
                self._status = ui.select([_ANY, *frame.STATUS_COLOURS], value=_ANY, label="Show").classes("w-40")
                self._chosen = ui.button("Compare", icon="stacked_line_chart", on_click=self._compare)
                ui.button("New job", icon="add", on_click=lambda: ui.navigate.to("/submit"))
            self._none_such = ui.label("No job has this status.").props("role=status")
            self._table = tables.table("Jobs", _COLUMNS, [], selection="multiple")
            with ui.row().classes("items-center gap-3") as self._ways:
                self._newer = ui.button("Newer", icon="chevron_left", on_click=frame.telling(self._back))
                self._place = ui.label().props("role=status")
                self._older = ui.button("Older", icon="chevron_right", on_click=frame.telling(self._on))
        for way in (self._newer, self._older):
            way.props("outline")
        self._chosen.tooltip("Tick two jobs or more")
        self._table.on_select(self._select)
        self._status.on_value_change(frame.telling(self._first))
        self._select()
        self._show(self._shown)
        frame.pulse(self._session, _SECONDS, self._refresh)

    def _show(self, page: Json) -> None:
        self._shown = page
        number, filtered = len(self._cursors), self._status.value != _ANY
        # Of a later page that is empty meanwhile, the way back must stay.
        found = bool(page["data"]) or number > 1
        self._nothing.visible, self._something.visible = not found and not filtered, found or filtered
        self._none_such.visible = filtered and not found
        self._ways.visible = number > 1 or page["has_more"]
        self._newer.set_enabled(number > 1)
        self._older.set_enabled(page["has_more"])
        self._place.set_text(f"Page {number}")
        self._table.rows = [row(job, self._root) for job in page["data"]]

    async def _refresh(self) -> bool:
        cursor, status = self._cursors[-1], self._status.value
        page = await self._ask(cursor, status)
        # Somebody may have turned the page meanwhile.
        if (cursor, status) == (self._cursors[-1], self._status.value):
            self._show(page)
        return True

    async def _ask(self, cursor: str | None, status: str) -> Json:
        asked = {"status": None if status == _ANY else status, "cursor": cursor}
        filters = {name: value for name, value in asked.items() if value is not None}
        return await self._session.ask(self._session.client.jobs, limit=_A_PAGE, **filters)

    async def _first(self) -> None:
        self._cursors = [None]
        await self._refresh()

    async def _on(self) -> None:
        if self._shown["has_more"]:
            self._cursors.append(self._shown["next_cursor"])
            await self._refresh()

    async def _back(self) -> None:
        self._cursors[1:] = self._cursors[1:-1]
        await self._refresh()

    def _compare(self) -> None:
        ui.navigate.to("/compare?jobs=" + ",".join(one["id"] for one in self._table.selected))

    def _select(self) -> None:
        self._chosen.set_enabled(len(self._table.selected) >= 2)


def row(job: Json, root: str = "") -> tables.Row:
    """A job as a row of the table; `root` is where the dashboard stands."""
    progress, ended = job["progress"], job["status"] in ENDED
    # Another address makes the browser ask again.
    at = job["status"] if ended else int(time.time() // _THUMB_SECONDS)
    return {
        "id": job["id"],
        "title": words.title(job),
        "href": f"{root}/jobs/{job['id']}",
        "preview": f"{root}/thumbs/{job['id']}?at={at}",
        "losses": f"{root}/sparks/{job['id']}?at={at}",
        "status": job["status"],
        "status_colour": frame.STATUS_COLOURS.get(job["status"], "blue-grey-7"),
        "status_why": words.standing(job),
        "progress": words.reached(job),
        "fraction": progress["fraction"],
        "rate": words.NOTHING if ended else words.rate(progress["images_per_second"]),
        "eta": words.span(progress["eta_seconds"]),
        "health": job["health"]["verdict"],
        "health_colour": frame.VERDICT_COLOURS.get(job["health"]["verdict"], "blue-grey-7"),
        "created": words.ago(job["created_at"]),
    }
