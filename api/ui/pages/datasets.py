"""What there is to train on."""

from __future__ import annotations

from typing import Final

from nicegui import ui

from api.client import Json
from api.ui import frame, tables, words
from api.ui.desk import Desk

_COLUMNS: Final = {
    "name": ("Name", tables.TEXT),
    "status": ("Status", tables.BADGE),
    "images": ("Images", tables.TEXT),
    "shape": ("Size", tables.TEXT),
    "classes": ("Classes", tables.TEXT),
    "problems": ("Problems", tables.TEXT),
}
_COLOURS: Final = {"ready": "green-9", "validating": "blue-8", "failed": "red-9"}


def register(desk: Desk) -> None:
    @ui.page("/datasets", title="Data sets – Gantry", response_timeout=30)
    async def datasets() -> None:
        await frame.page(desk, "Data sets", lambda: _build(desk))


async def _build(desk: Desk) -> None:
    found = (await desk.ask(desk.client.datasets))["data"]
    frame.heading("Data sets")
    if not found:
        frame.empty("No data set is registered.")
        return
    tables.table("Data sets", _COLUMNS, [row(one) for one in found])
    with ui.row().classes("gap-3"):
        for one in found:
            if one["status"] == "ready":
                ui.link(f"New job on {one['name']}", f"/submit?dataset={one['name']}").classes("gantry-link")


def row(found: Json) -> tables.Row:
    colours = {1: "grey", 3: "colour"}.get(found["channels"], f"{found['channels']} channels")
    classes = found["classes"]
    named = ", ".join(f"{c['label']} ({words.count(c['count'])})" for c in classes[:20])
    return {
        "id": found["id"],
        "name": found["name"],
        "status": found["status"],
        "status_colour": _COLOURS[found["status"]],
        "images": words.count(found["num_images"]),
        "shape": f"{found['width']} × {found['height']}, {colours}",
        "classes": (named + (" …" if len(classes) > 20 else "")) or "unlabelled",
        "problems": "; ".join(str(p) for p in found["problems"]) or "none",
    }
