"""What there is to train on."""

from __future__ import annotations

from typing import Final

from nicegui import ui
from starlette.responses import Response

from api.ui import frame, tables, words
from api.ui.sessions import Desk, Sessions
from gantry.client import Json

_SECONDS: Final = 2.0
_NAMED: Final = 12
_COLUMNS: Final = {
    "title": ("Name", tables.LINK),
    "status": ("Status", tables.BADGE),
    "images": ("Images", tables.TEXT),
    "shape": ("Size", tables.TEXT),
    "classes": ("Classes", tables.TEXT),
}


def register(sessions: Sessions) -> None:
    @ui.page("/datasets", title="Data sets – Gantry", response_timeout=30)
    async def datasets() -> Response | None:
        return await frame.page(sessions, "Data sets", _build)


async def _build(session: Desk) -> None:
    found = (await session.ask(session.client.datasets))["data"]
    frame.heading("Data sets")
    ui.button("Bring your own images", icon="upload", on_click=lambda: ui.navigate.to("/datasets/upload"))
    with ui.column().classes("w-full") as nothing:
        frame.empty("No data set is registered, and a job needs one.")
    root = frame.address("")
    table = tables.table("Data sets", _COLUMNS, [])

    def show(found: list[Json]) -> None:
        nothing.visible, table.visible = not found, bool(found)
        table.rows = [row(one, root) for one in found]

    async def refresh() -> bool:
        show((await session.ask(session.client.datasets))["data"])
        return True

    show(found)
    frame.pulse(session, _SECONDS, refresh)


def row(found: Json, root: str = "") -> tables.Row:
    known = found["status"] == "ready"
    return {
        "id": found["id"],
        "title": found["name"],
        "href": f"{root}/datasets/{found['id']}",
        "status": found["status"],
        "status_colour": frame.DATASET_COLOURS[found["status"]],
        "status_why": words.intake(found),
        "images": words.count(found["num_images"]) if known else words.NOTHING,
        "shape": words.shape(found) if known else words.NOTHING,
        "classes": _classes(found["classes"]) if known else words.NOTHING,
    }


def _classes(classes: list[Json]) -> str:
    named = ", ".join(f"{c['label']} ({words.count(c['count'])})" for c in classes[:_NAMED])
    more = f" and {len(classes) - _NAMED} more" if len(classes) > _NAMED else ""
    return named + more or "unlabelled"
