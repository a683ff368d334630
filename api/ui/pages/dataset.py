"""One data set: what is in it, how far it is on its way in, or what is wrong with it."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from nicegui import ui
from starlette.responses import Response

from api.ui import files, frame, tables, words
from api.ui.sessions import Desk, Sessions
from gantry.client import ApiError, Json, UnreachableError

_SECONDS: Final = 1.0
_EVERY: Final = "every class"
_EACH, _ALONE = 10, 60
"""Images of each class on a sheet of many, and of one."""
# A sheet of more rows would be a long way down; the picker has them all.
_ROWS: Final = 20
_DELETE: Final = "Delete this data set? Its images go with it, for good."
_PROBLEMS: Final = {"file": ("File", tables.TEXT), "detail": ("What is wrong", tables.TEXT)}
_BUILT_IN: Final = "A part of Gantry."


def register(sessions: Sessions) -> None:
    @ui.page("/datasets/{name_or_id}", title="Data set – Gantry", response_timeout=30)
    async def dataset(name_or_id: str) -> Response | None:
        return await frame.page(sessions, "Data sets", lambda session: _build(session, name_or_id))


async def _build(session: Desk, name_or_id: str) -> None:
    found = await session.ask(session.client.dataset, name_or_id)
    ui.page_title(f"{found['name']} – Gantry")
    frame.heading(found["name"], found["id"])
    _DatasetPage(session, found).build()


class _DatasetPage:
    """What is shown of it, brought up to date while it is on its way in."""

    def __init__(self, session: Desk, found: Json) -> None:
        self._session, self._id, self._shown = session, found["id"], found

    def build(self) -> None:
        with frame.panel():
            with ui.row().classes("w-full items-center gap-3"):
                self._status = frame.badge("", frame.DATASET_COLOURS).props("role=status aria-live=polite")
                self._why = ui.label().props("role=status").classes("break-words")
                self._actions = ui.row().classes("gap-2 ml-auto")
            self._bar = ui.linear_progress(0, show_value=False).props('aria-label="Progress" rounded')
            self._facts = ui.column().classes("w-full")
            self._policy = ui.label().classes("break-words")
        self._place = ui.column().classes("w-full gap-4")
        self._show(self._shown, first=True)
        if self._shown["status"] == "validating":
            frame.pulse(self._session, _SECONDS, self._refresh)

    async def _refresh(self) -> bool:
        self._show(await self._session.ask(self._session.client.dataset, self._id))
        return bool(self._shown["status"] == "validating")

    def _show(self, found: Json, *, first: bool = False) -> None:
        changed = first or found["status"] != self._shown["status"]
        self._shown, status = found, found["status"]
        self._status.set_text(status)
        self._status.props(f"color={frame.DATASET_COLOURS[status]}")
        self._why.set_text(words.intake(found))
        progress = found["progress"] or {"done": 0, "total": 1}
        self._bar.visible = status == "validating"
        self._bar.set_value(progress["done"] / progress["total"])
        self._policy.set_text(found["preparation"]["words"] if found["preparation"] else "")
        self._policy.visible = bool(found["preparation"])
        if changed:
            self._fill()

    def _fill(self) -> None:
        """What is there in this status alone."""
        for place in (self._facts, self._actions, self._place):
            place.clear()
        with self._facts:
            frame.facts(facts(self._shown))
        with self._actions:
            self._offer()
        with self._place:
            if self._shown["status"] == "failed":
                self._problems()
            elif self._shown["status"] == "ready":
                ContactSheetPanel(self._session, self._shown).build()

    def _offer(self) -> None:
        if self._shown["status"] == "ready":
            target = f"/submit?dataset={self._shown['id']}"
            ui.button("New job", icon="add", on_click=lambda: ui.navigate.to(target)).props("outline")
        if not built_in(self._shown):
            ui.button("Delete", icon="delete", on_click=self._delete).props("outline")

    async def _delete(self) -> None:
        if not await frame.sure(_DELETE, "Yes, delete it"):
            return
        try:
            await self._session.ask(self._session.client.delete_dataset, self._id)
        except (ApiError, UnreachableError) as error:
            frame.tell(error)
        else:
            ui.navigate.to("/datasets")

    def _problems(self) -> None:
        with frame.panel("alert"):
            frame.section("Problems")
            ui.label("Nothing of it is kept. Mend these, and upload it again; the same name may be taken.")
            tables.table("Problems", _PROBLEMS, problems(self._shown["problems"]))
            ui.link("Upload it again", "/datasets/upload").classes("gantry-link")


class ContactSheetPanel:
    """Real images, a row a class, or more of one class alone."""

    def __init__(self, session: Desk, found: Json) -> None:
        self._session, self._found, self._root = session, found, frame.address(files.PREFIX)

    def build(self) -> None:
        labels = [c["label"] for c in self._found["classes"]]
        with frame.panel():
            frame.section("Contact sheet")
            if labels:
                self._class = ui.select([_EVERY, *labels], value=_EVERY, label="Class", on_change=self._draw)
                self._class.classes("w-56")
            self._said = ui.label().classes("gantry-dim break-words").props("role=status")
            self._image = frame.picture()
            with ui.column().classes("gap-2").props("role=alert") as self._failed:
                self._why = ui.label().classes("break-words")
                ui.button("Try again", icon="refresh", on_click=self._draw).props("outline")
        self._image.on("error", self._explain, args=[])
        self._draw()

    def _draw(self) -> None:
        self._failed.visible = False
        labels, n, said = self._wish()
        query = urlencode([("n", n), *(("label", label) for label in labels)])
        self._said.set_text(said)
        frame.show(self._image, f"{self._root}/v1/datasets/{self._found['id']}/contact-sheet?{query}", said)

    async def _explain(self) -> None:
        """The picture did not come: ask why, in words."""
        labels, n, _ = self._wish()
        frame.show(self._image, "", "")
        why = "They did not come."
        try:
            await self._session.ask(self._session.client.contact_sheet, self._found["id"], labels=labels, n=n)
        except (ApiError, UnreachableError) as error:
            why = str(error)
        self._why.set_text(f"The images cannot be shown. {why}")
        self._failed.visible = True

    def _wish(self) -> tuple[list[int], int, str]:
        picked = self._class.value if self._found["classes"] else None
        return wish(self._found, None if picked == _EVERY else picked)


def wish(found: Json, label: str | None) -> tuple[list[int], int, str]:
    """The ids of the classes of a sheet, how many images of each, and what it shows."""
    classes = found["classes"]
    if not classes:
        return [], _ALONE, f"Up to {_ALONE} of its images."
    if label is not None:
        one = next(c for c in classes if c["label"] == label)
        number = min(_ALONE, one["count"])
        return [one["id"]], number, f"Up to {number} of the {words.count(one['count'])} images of {label}."
    shown = classes[:_ROWS]
    rest = f" The picker has all {len(classes)} classes." if len(classes) > _ROWS else ""
    said = f"Up to {_EACH} images of each of {', '.join(c['label'] for c in shown)}.{rest}"
    return [c["id"] for c in shown], _EACH, said


def problems(found: list[Json]) -> list[tables.Row]:
    """As rows; what is about no file is about the whole."""
    # Each says of which file it is, for those who read it by itself.
    told = [p["detail"].removeprefix(f"{p['file']!r}: ") for p in found]
    return [{"id": i, "file": p["file"] or "the archive", "detail": told[i]} for i, p in enumerate(found)]


def built_in(found: Json) -> bool:
    """Whether it is a part of Gantry: such a one is ready, and nothing was done to its images."""
    return found["status"] == "ready" and found["preparation"] is None


def facts(found: Json) -> dict[str, str]:
    """The data set in a few figures."""
    if found["status"] != "ready":
        return {}
    shown: dict[str, Any] = {
        "Images": words.count(found["num_images"]),
        "Held out": "" if found["num_held_out"] is None else words.count(found["num_held_out"]),
        "Size": words.shape(found),
        "Classes": words.count(len(found["classes"])) if found["classes"] else "unlabelled",
        "From": _BUILT_IN if built_in(found) else "",
    }
    return {name: value for name, value in shown.items() if value}
