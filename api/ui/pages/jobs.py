"""The first page: every job, live."""

from __future__ import annotations

import time
from typing import Any, Final

from nicegui import ui

from api.client import ENDED, Json
from api.ui import frame, tables, words
from api.ui.desk import Desk

_SECONDS: Final = 2.0
_THUMB_SECONDS: Final = 10
_SHOWN: Final = 100
_ANY: Final = "any status"
_COLUMNS: Final = {
    "title": ("Job", tables.LINK),
    "preview": ("Preview", tables.PICTURE),
    "status": ("Status", tables.BADGE),
    "progress": ("Progress", tables.BAR),
    "rate": ("Rate", tables.TEXT),
    "eta": ("Time left", tables.TEXT),
    "health": ("Health", tables.BADGE),
    "created": ("Submitted", tables.TEXT),
}


def register(desk: Desk) -> None:
    @ui.page("/", title="Jobs – Gantry", response_timeout=30)
    async def jobs() -> None:
        await frame.page(desk, "Jobs", lambda: _build(desk))


async def _build(desk: Desk) -> None:
    page = await _ask(desk, _ANY)
    frame.heading("Jobs")
    nothing = ui.column().classes("w-full")
    with nothing:
        frame.empty("No job yet. A job trains one GAN on one data set.", "Submit the first one", "/submit")
    with ui.column().classes("w-full gap-3") as something:
        with ui.row().classes("items-center gap-3"):
            status = ui.select([_ANY, *frame.STATUS_COLOURS], value=_ANY, label="Show").classes("w-40")
            chosen = ui.button("Compare", icon="stacked_line_chart")
            ui.button("New job", icon="add", on_click=lambda: ui.navigate.to("/submit"))
        none_such = ui.label("No job has this status.").props("role=status")
        root = frame.address("")
        table = tables.table("Jobs", _COLUMNS, [row(job, root) for job in page["data"]], selection="multiple")
        more = ui.label(f"The newest {_SHOWN} are shown; the API lists the rest.").classes("gantry-dim")

    def show(page: Json) -> None:
        found, filtered = bool(page["data"]), status.value != _ANY
        nothing.visible, something.visible = not found and not filtered, found or filtered
        none_such.visible, more.visible = not found and filtered, page["has_more"]
        table.rows = [row(job, root) for job in page["data"]]

    async def refresh() -> bool:
        show(await _ask(desk, status.value))
        return True

    def compare() -> None:
        ui.navigate.to("/compare?jobs=" + ",".join(one["id"] for one in table.selected))

    def select() -> None:
        chosen.set_enabled(len(table.selected) >= 2)

    chosen.on_click(compare).tooltip("Tick two jobs or more")
    table.on_select(select)
    status.on_value_change(frame.telling(refresh))
    select()
    show(page)
    frame.pulse(desk, _SECONDS, refresh)


async def _ask(desk: Desk, status: str) -> Json:
    filters: dict[str, Any] = {} if status == _ANY else {"status": status}
    return await desk.ask(desk.client.jobs, limit=_SHOWN, **filters)


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
