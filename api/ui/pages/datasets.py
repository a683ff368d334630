"""The list of data sets."""

from __future__ import annotations

from typing import Final

from nicegui import ui
from starlette.responses import Response

from api.ui import formatting, frame, tables
from api.ui.sessions import BrowserSession, Sessions
from gantry.client import Json

_SECONDS: Final = 2.0
_MAX_NAMES: Final = 12
_COLUMNS: Final = {
    "title": ("Name", tables.LINK),
    "status": ("Status", tables.BADGE),
    "images": ("Images", tables.TEXT),
    "shape": ("Size", tables.TEXT),
    "classes": ("Classes", tables.TEXT),
}


def register(sessions: Sessions) -> None:
    """Register the page."""

    @ui.page("/datasets", title="Data sets – Gantry", response_timeout=30)
    async def datasets() -> Response | None:
        return await frame.page(sessions, "Data sets", _build)


async def _build(session: BrowserSession) -> None:
    found = (await session.call(session.client.datasets))["data"]
    frame.heading("Data sets")
    ui.button("Upload your own images", icon="upload", on_click=lambda: ui.navigate.to("/datasets/upload"))
    with ui.column().classes("w-full") as empty_panel:
        frame.show_empty("There is no data set yet. A job needs one.")
    root = frame.mounted("")
    table = tables.table("Data sets", _COLUMNS, [])

    def show(found: list[Json]) -> None:
        empty_panel.visible, table.visible = not found, bool(found)
        table.show([row(one, root) for one in found])

    async def refresh() -> bool:
        show((await session.call(session.client.datasets))["data"])
        return True

    show(found)
    frame.poll(session, _SECONDS, refresh)


def row(found: Json, root: str = "") -> tables.Row:
    """Return a data set as a table row; `root` is the mount path of the dashboard."""
    known = found["status"] == "ready"
    return {
        "id": found["id"],
        "title": found["name"],
        "href": f"{root}/datasets/{found['id']}",
        "status": found["status"],
        "status_colour": frame.DATASET_COLOURS[found["status"]],
        "status_why": formatting.validation_status(found),
        "images": formatting.count(found["num_images"]) if known else formatting.NO_VALUE,
        "shape": formatting.image_format(found) if known else formatting.NO_VALUE,
        "classes": _classes(found["classes"]) if known else formatting.NO_VALUE,
    }


def _classes(classes: list[Json]) -> str:
    named = ", ".join(f"{c['label']} ({formatting.count(c['count'])})" for c in classes[:_MAX_NAMES])
    more = f" and {len(classes) - _MAX_NAMES} more" if len(classes) > _MAX_NAMES else ""
    return named + more or "unlabelled"
