"""The list of workers."""

from __future__ import annotations

from typing import Final

from nicegui import events, ui
from starlette.responses import Response

from api.ui import formatting, frame, tables
from api.ui.sessions import BrowserSession, Sessions
from gantry.client import Json

_SECONDS: Final = 2.0
_COLUMNS: Final = {
    "id": ("Worker", tables.TEXT),
    "host": ("Host", tables.TEXT),
    "devices": ("Devices", tables.TEXT),
    "status": ("Status", tables.BADGE),
    "job": (
        "Job",
        '<a v-if="props.value" class="gantry-link" :href="props.row.href">{{ props.value }}</a><span v-else>–</span>',
    ),
    "heartbeat": ("Last heartbeat", tables.TEXT),
    "drain": ("Action", tables.BUTTON),
}
_DRAIN: Final = "It accepts no more jobs, saves a checkpoint of its job, returns the job to the queue and exits."
_COLOURS: Final = {"idle": "green-9", "busy": "blue-8", "draining": "deep-orange-10", "lost": "red-9"}


def register(sessions: Sessions) -> None:
    """Register the page."""

    @ui.page("/workers", title="Workers – Gantry", response_timeout=30)
    async def workers() -> Response | None:
        return await frame.page(sessions, "Workers", _build)


async def _build(session: BrowserSession) -> None:
    found = (await session.call(session.client.workers))["data"]
    frame.heading("Workers")
    with ui.column().classes("w-full") as empty_panel:
        frame.show_empty("No worker is running, so jobs wait. `gantry worker` starts one.")
    root = frame.mounted("")
    table = tables.table("Workers", _COLUMNS, [])

    def show(found: list[Json]) -> None:
        empty_panel.visible, table.visible = not found, bool(found)
        table.show([row(one, root) for one in found])

    async def refresh() -> bool:
        show((await session.call(session.client.workers))["data"])
        return True

    async def drain(event: events.GenericEventArguments) -> None:
        if await frame.confirm(f"Drain {event.args}? {_DRAIN}", "Yes, drain it"):
            await frame.notifying(lambda: session.call(session.client.drain, event.args))()
            await frame.notifying(refresh)()

    table.on("drain", drain)
    show(found)
    frame.poll(session, _SECONDS, refresh)


def row(found: Json, root: str = "") -> tables.Row:
    """Return a worker as a table row; `root` is the mount path of the dashboard."""
    return {
        "id": found["id"],
        "title": found["id"],
        "host": found["host"],
        "devices": ", ".join(str(d.get("name", d)) for d in found["devices"]) or formatting.NO_VALUE,
        "status": found["status"],
        "status_colour": _COLOURS[found["status"]],
        "job": found["current_job_id"] or "",
        "href": f"{root}/jobs/{found['current_job_id']}",
        "heartbeat": formatting.ago(found["heartbeat_at"]),
        "drain": "Drain" if found["status"] in ("idle", "busy") else "",
    }
