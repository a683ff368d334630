"""Two jobs or more: one curve of each on one chart, and the same wish drawn by each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from nicegui import ui
from starlette.responses import Response

from api.ui import charts, frame, words
from api.ui.panels.samples import SampleRequest, as_url, in_words
from api.ui.sessions import Desk, Sessions
from gantry import quality
from gantry.client import ENDED, ApiError, Json, UnreachableError

_SECONDS: Final = 4.0
_CHOICE: Final = 100
_CURVES: Final = {**charts.NAMES, **{name: quality.shown(name).label for name in quality.SUMMARY}}


def register(sessions: Sessions) -> None:
    @ui.page("/compare", title="Compare – Gantry", response_timeout=30)
    async def compare(jobs: str = "") -> Response | None:
        return await frame.page(
            sessions, "Compare", lambda session: _build(session, [word for word in jobs.split(",") if word])
        )


async def _build(session: Desk, ids: Sequence[str]) -> None:
    recent = (await session.ask(session.client.jobs, limit=_CHOICE))["data"]
    named = list(await asyncio.gather(*(session.ask(session.client.job, i) for i in dict.fromkeys(ids))))
    frame.heading("Compare")
    if len(recent) < 2:
        frame.empty("Two jobs are needed to compare.", "Submit one", "/submit")
        return
    known = {job["id"]: job for job in [*recent, *named]}

    def go() -> None:
        ui.navigate.to("/compare?jobs=" + ",".join(picked.value))

    with ui.row().classes("w-full items-end gap-3"):
        titles = {job["id"]: f"{label(job)} ({job['status']})" for job in known.values()}
        picked = ui.select(titles, value=[job["id"] for job in named], multiple=True, label="Jobs")
        picked.props("use-chips").classes("grow min-w-0 w-64")
        ui.button("Compare", on_click=go)
    if len(named) < 2:
        frame.empty("Pick two jobs or more.")
        return
    await _Comparison(session, named).build()


class _Comparison:
    """The chart and the samples of these jobs."""

    def __init__(self, session: Desk, jobs: Sequence[Json]) -> None:
        self._session, self._jobs = session, list(jobs)
        self._images: dict[str, tuple[ui.element, ui.label]] = {}
        self._stands: dict[str, ui.label] = {}

    async def build(self) -> None:
        changed = frame.telling(self._refresh)
        with frame.panel():
            with ui.row().classes("w-full items-center gap-4"):
                frame.section("Curves")
                self._curve = ui.select(_CURVES, value="loss_g", label="Curve", on_change=changed).classes("w-40")
                self._log = ui.switch("Log scale", on_change=changed)
            self._none = ui.label("None of these jobs has this curve yet.").props("role=status")
            self._chart = frame.chart()
        labels = await self._labels()
        with frame.panel():
            frame.section("Samples")
            self._wish = SampleRequest.build(labels)
            self._button = ui.button("Draw from each", icon="brush", on_click=self._draw)
            with ui.element("div").classes("w-full grid grid-cols-1 md:grid-cols-2 gap-4"):
                for job in self._jobs:
                    self._column(job)
        await self._refresh()
        frame.pulse(self._session, _SECONDS, self._beat)

    def _column(self, job: Json) -> None:
        with frame.panel():
            ui.link(label(job), f"/jobs/{job['id']}").classes("gantry-link")
            self._stands[job["id"]] = ui.label(_standing(job)).classes("gantry-dim")
            said = ui.label().props("role=status").classes("break-words")
            self._images[job["id"]] = (frame.picture(), said)

    async def _labels(self) -> list[str]:
        """The classes that all of them can draw."""
        asked = (self._session.ask(self._session.client.classes, job["id"]) for job in self._jobs)
        found = [[c["label"] for c in classes] for classes in await asyncio.gather(*asked)]
        return [name for name in found[0] if all(name in other for other in found)]

    async def _refresh(self) -> None:
        name = self._curve.value
        found = await asyncio.gather(*(self._session.curves(job["id"], [name]) for job in self._jobs))
        series = {label(job): one[name] for job, one in zip(self._jobs, found, strict=True) if name in one}
        self._none.visible, self._chart.visible = not series, bool(series)
        frame.draw(self._chart, charts.compared(series, name, log=self._log.value), charts.in_words(series))

    async def _beat(self) -> bool:
        self._jobs = list(
            await asyncio.gather(*(self._session.ask(self._session.client.job, j["id"]) for j in self._jobs))
        )
        for job in self._jobs:
            self._stands[job["id"]].set_text(_standing(job))
        await self._refresh()
        return any(job["status"] not in ENDED for job in self._jobs)

    async def _draw(self) -> None:
        query = self._wish.query()
        self._button.disable()
        try:
            await asyncio.gather(*(self._draw_one(job, query) for job in self._jobs))
        finally:
            self._button.enable()

    async def _draw_one(self, job: Json, query: dict[str, Any]) -> None:
        image, said = self._images[job["id"]]
        said.set_text("Drawing …")
        try:
            png = await self._session.ask(self._session.client.samples, job["id"], **query)
        except (ApiError, UnreachableError) as error:
            said.set_text(str(error))
            frame.show(image, "", "")
        else:
            said.set_text("")
            frame.show(image, as_url(png), f"{label(job)}: {in_words(query)}")


def _standing(job: Json) -> str:
    preset = job["spec"].get("preset") or "no preset"
    return f"{preset}, {words.reached(job)}, {job['status']}"


def label(job: Json) -> str:
    """A name and the end of the id, as names may be the same."""
    return f"{job['name']} ({job['id'][-6:]})" if job["name"] else str(job["id"])
