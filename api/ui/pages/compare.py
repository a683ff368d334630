"""The comparison of two or more jobs: one curve of each on one chart, and the same sample request to each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from nicegui import ui
from starlette.responses import Response

from api.ui import charts, formatting, frame
from api.ui.panels.samples import SampleRequest, as_url, describe_request
from api.ui.sessions import BrowserSession, Sessions
from gantry import quality
from gantry.client import ENDED, ApiError, Json, UnreachableError

_SECONDS: Final = 4.0
_MAX_CHOICES: Final = 100
_CURVES: Final = {**charts.NAMES, **{name: quality.shown(name).label for name in quality.SUMMARY}}


def register(sessions: Sessions) -> None:
    """Register the page."""

    @ui.page("/compare", title="Compare – Gantry", response_timeout=30)
    async def compare(jobs: str = "") -> Response | None:
        return await frame.page(
            sessions, "Compare", lambda session: _build(session, [job_id for job_id in jobs.split(",") if job_id])
        )


async def _build(session: BrowserSession, ids: Sequence[str]) -> None:
    recent = (await session.call(session.client.jobs, limit=_MAX_CHOICES))["data"]
    selected = list(await asyncio.gather(*(session.call(session.client.job, i) for i in dict.fromkeys(ids))))
    frame.heading("Compare")
    if len(recent) < 2:
        frame.show_empty("A comparison needs at least two jobs.", "Submit a job", "/submit")
        return
    choices = {job["id"]: job for job in [*recent, *selected]}

    def open_comparison() -> None:
        ui.navigate.to("/compare?jobs=" + ",".join(selection.value))

    with ui.row().classes("w-full items-end gap-3"):
        titles = {job["id"]: f"{label(job)} ({job['status']})" for job in choices.values()}
        selection = ui.select(titles, value=[job["id"] for job in selected], multiple=True, label="Jobs")
        selection.props("use-chips").classes("grow min-w-0 w-64")
        ui.button("Compare", on_click=open_comparison)
    if len(selected) < 2:
        frame.show_empty("Select two or more jobs.")
        return
    await _Comparison(session, selected).build()


class _Comparison:
    """The chart and the samples of the selected jobs."""

    def __init__(self, session: BrowserSession, jobs: Sequence[Json]) -> None:
        self._session, self._jobs = session, list(jobs)
        self._images: dict[str, tuple[ui.element, ui.label]] = {}
        self._progress: dict[str, ui.label] = {}

    async def build(self) -> None:
        changed = frame.notifying(self._refresh)
        with frame.panel():
            with ui.row().classes("w-full items-center gap-4"):
                frame.section("Curves")
                self._curve = ui.select(_CURVES, value="loss_g", label="Curve", on_change=changed).classes("w-40")
                self._log = ui.switch("Log scale", on_change=changed)
            self._no_curve = ui.label("None of these jobs has this curve yet.").props("role=status")
            self._chart = frame.chart()
        labels = await self._labels()
        with frame.panel():
            frame.section("Samples")
            self._request = SampleRequest.build(labels)
            self._button = ui.button("Draw from each", icon="brush", on_click=self._draw)
            with ui.element("div").classes("w-full grid grid-cols-1 md:grid-cols-2 gap-4"):
                for job in self._jobs:
                    self._column(job)
        await self._refresh()
        frame.poll(self._session, _SECONDS, self._poll)

    def _column(self, job: Json) -> None:
        with frame.panel():
            ui.link(label(job), f"/jobs/{job['id']}").classes("gantry-link")
            self._progress[job["id"]] = ui.label(_progress_text(job)).classes("gantry-dim")
            message = ui.label().props("role=status").classes("break-words")
            self._images[job["id"]] = (frame.image(), message)

    async def _labels(self) -> list[str]:
        """Return the classes that all jobs have."""
        calls = (self._session.call(self._session.client.classes, job["id"]) for job in self._jobs)
        labels = [[c["label"] for c in classes] for classes in await asyncio.gather(*calls)]
        return [name for name in labels[0] if all(name in other for other in labels)]

    async def _refresh(self) -> None:
        name = self._curve.value
        found = await asyncio.gather(*(self._session.curves(job["id"], [name]) for job in self._jobs))
        series = {label(job): curves[name] for job, curves in zip(self._jobs, found, strict=True) if name in curves}
        self._no_curve.visible, self._chart.visible = not series, bool(series)
        frame.set_chart(self._chart, charts.compared(series, name, log=self._log.value), charts.describe(series))

    async def _poll(self) -> bool:
        self._jobs = list(
            await asyncio.gather(*(self._session.call(self._session.client.job, j["id"]) for j in self._jobs))
        )
        for job in self._jobs:
            self._progress[job["id"]].set_text(_progress_text(job))
        await self._refresh()
        return any(job["status"] not in ENDED for job in self._jobs)

    async def _draw(self) -> None:
        query = self._request.query()
        self._button.disable()
        try:
            await asyncio.gather(*(self._draw_one(job, query) for job in self._jobs))
        finally:
            self._button.enable()

    async def _draw_one(self, job: Json, query: dict[str, Any]) -> None:
        image, message = self._images[job["id"]]
        message.set_text("Drawing …")
        try:
            png = await self._session.call(self._session.client.samples, job["id"], **query)
        except (ApiError, UnreachableError) as error:
            message.set_text(str(error))
            frame.set_image(image, "", "")
        else:
            message.set_text("")
            frame.set_image(image, as_url(png), f"{label(job)}: {describe_request(query)}")


def _progress_text(job: Json) -> str:
    preset = job["spec"].get("preset") or "no preset"
    return f"{preset}, {formatting.steps_done(job)}, {job['status']}"


def label(job: Json) -> str:
    """Return the name with the end of the id, because two jobs may have the same name; without a name, the id."""
    return f"{job['name']} ({job['id'][-6:]})" if job["name"] else str(job["id"])
