"""The page of one data set: its images, the progress of its check, or its problems."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from nicegui import ui
from starlette.responses import Response

from api.ui import files, formatting, frame, tables
from api.ui.sessions import BrowserSession, Sessions
from gantry.client import ApiError, Json, UnreachableError

_SECONDS: Final = 1.0
_ALL_CLASSES: Final = "all classes"
_IMAGES_PER_CLASS, _IMAGES_OF_ONE = 10, 60
"""The images of each class on a sheet of several classes, and on a sheet of one class."""
# More rows would make a very long sheet. The list of classes offers every class.
_MAX_ROWS: Final = 20
_DELETE: Final = "Delete this data set? Its images are deleted, too. This cannot be undone."
_PROBLEMS: Final = {"file": ("File", tables.TEXT), "detail": ("Problem", tables.TEXT)}
_BUILT_IN: Final = "Included in Gantry"


def register(sessions: Sessions) -> None:
    """Register the page."""

    @ui.page("/datasets/{name_or_id}", title="Data set – Gantry", response_timeout=30)
    async def dataset(name_or_id: str) -> Response | None:
        return await frame.page(sessions, "Data sets", lambda session: _build(session, name_or_id))


async def _build(session: BrowserSession, name_or_id: str) -> None:
    found = await session.call(session.client.dataset, name_or_id)
    ui.page_title(f"{found['name']} – Gantry")
    frame.heading(found["name"], found["id"])
    _DatasetPage(session, found).build()


class _DatasetPage:
    """The elements of the page, which are refreshed while the data set is being checked."""

    def __init__(self, session: BrowserSession, found: Json) -> None:
        self._session, self._id, self._shown = session, found["id"], found

    def build(self) -> None:
        with frame.panel():
            with ui.row().classes("w-full items-center gap-3"):
                self._status = frame.badge("", frame.DATASET_COLOURS).props("role=status aria-live=polite")
                self._why = ui.label().props("role=status").classes("break-words")
                self._actions = ui.row().classes("gap-2 ml-auto")
            self._bar = ui.linear_progress(0, show_value=False).props('aria-label="Progress" rounded')
            self._facts = ui.column().classes("w-full")
            self._policy = ui.label().classes("break-words whitespace-pre-line")
        self._content = ui.column().classes("w-full gap-4")
        self._show(self._shown, first=True)
        if self._shown["status"] == "validating":
            frame.poll(self._session, _SECONDS, self._refresh)

    async def _refresh(self) -> bool:
        self._show(await self._session.call(self._session.client.dataset, self._id))
        return bool(self._shown["status"] == "validating")

    def _show(self, found: Json, *, first: bool = False) -> None:
        changed = first or found["status"] != self._shown["status"]
        self._shown, status = found, found["status"]
        self._status.set_text(status)
        self._status.props(f"color={frame.DATASET_COLOURS[status]}")
        self._why.set_text(formatting.validation_status(found))
        progress = found["progress"] or {"done": 0, "total": 1}
        self._bar.visible = status == "validating"
        self._bar.set_value(progress["done"] / progress["total"])
        words = [found["preparation"]["words"]] if found["preparation"] else []
        self._policy.set_text("\n".join([*words, *found.get("notes", ())]))
        self._policy.visible = bool(words)
        if changed:
            self._rebuild()

    def _rebuild(self) -> None:
        """Rebuild the parts that depend on the status."""
        for container in (self._facts, self._actions, self._content):
            container.clear()
        with self._facts:
            frame.add_facts(facts(self._shown))
        with self._actions:
            self._add_actions()
        with self._content:
            if self._shown["status"] == "failed":
                self._problems()
            elif self._shown["status"] == "ready":
                ContactSheetPanel(self._session, self._shown).build()

    def _add_actions(self) -> None:
        if self._shown["status"] == "ready":
            target = f"/submit?dataset={self._shown['id']}"
            ui.button("New job", icon="add", on_click=lambda: ui.navigate.to(target)).props("outline")
        if not built_in(self._shown):
            ui.button("Delete", icon="delete", on_click=self._delete).props("outline")

    async def _delete(self) -> None:
        if not await frame.confirm(_DELETE, "Yes, delete it"):
            return
        try:
            await self._session.call(self._session.client.delete_dataset, self._id)
        except (ApiError, UnreachableError) as error:
            frame.notify_error(error)
        else:
            ui.navigate.to("/datasets")

    def _problems(self) -> None:
        with frame.panel("alert"):
            frame.section("Problems")
            ui.label(
                "No image was kept. Correct these problems and upload the data set again. It can have the same name."
            )
            tables.table("Problems", _PROBLEMS, problems(self._shown["problems"]))
            ui.link("Upload it again", "/datasets/upload").classes("gantry-link")


class ContactSheetPanel:
    """A contact sheet of real images: one row for each class, or more images of one class."""

    def __init__(self, session: BrowserSession, found: Json) -> None:
        self._session, self._found, self._root = session, found, frame.mounted(files.PREFIX)

    def build(self) -> None:
        """Add the panel to the page: the choice of a class if there are any, the sheet, and a way to try again."""
        labels = [c["label"] for c in self._found["classes"]]
        with frame.panel():
            frame.section("Contact sheet")
            if labels:
                self._class = ui.select(
                    [_ALL_CLASSES, *labels], value=_ALL_CLASSES, label="Class", on_change=self._draw
                )
                self._class.classes("w-56")
            self._caption = ui.label().classes("gantry-dim break-words").props("role=status")
            self._image = frame.image()
            with ui.column().classes("gap-2").props("role=alert") as self._failed:
                self._why = ui.label().classes("break-words")
                ui.button("Try again", icon="refresh", on_click=self._draw).props("outline")
        self._image.on("error", self._show_reason, args=[])
        self._draw()

    def _draw(self) -> None:
        self._failed.visible = False
        labels, n, description = self._request()
        query = urlencode([("n", n), *(("label", label) for label in labels)])
        self._caption.set_text(description)
        frame.set_image(
            self._image, f"{self._root}/v1/datasets/{self._found['id']}/contact-sheet?{query}", description
        )

    async def _show_reason(self) -> None:
        """Request the sheet once more to show the reason why its image failed."""
        labels, n, _ = self._request()
        frame.set_image(self._image, "", "")
        reason = "No image was received."
        try:
            await self._session.call(self._session.client.contact_sheet, self._found["id"], labels=labels, n=n)
        except (ApiError, UnreachableError) as error:
            reason = str(error)
        self._why.set_text(f"The images cannot be shown. {reason}")
        self._failed.visible = True

    def _request(self) -> tuple[list[int], int, str]:
        label = self._class.value if self._found["classes"] else None
        return sheet_request(self._found, None if label == _ALL_CLASSES else label)


def sheet_request(found: Json, label: str | None) -> tuple[list[int], int, str]:
    """Return the class ids of a contact sheet, the number of images of each class, and a description."""
    classes = found["classes"]
    if not classes:
        return [], _IMAGES_OF_ONE, f"Up to {_IMAGES_OF_ONE} images of this data set."
    if label is not None:
        one = next(c for c in classes if c["label"] == label)
        number = min(_IMAGES_OF_ONE, one["count"])
        return [one["id"]], number, f"Up to {number} of the {formatting.count(one['count'])} images of {label}."
    shown = classes[:_MAX_ROWS]
    rest = f" The list has all {len(classes)} classes." if len(classes) > _MAX_ROWS else ""
    description = f"Up to {_IMAGES_PER_CLASS} images of each of {', '.join(c['label'] for c in shown)}.{rest}"
    return [c["id"] for c in shown], _IMAGES_PER_CLASS, description


def problems(found: list[Json]) -> list[tables.Row]:
    """Return the problems as table rows. A problem without a file concerns the whole archive."""
    # Each detail begins with the name of its file, which has its own column here.
    details = [p["detail"].removeprefix(f"{p['file']!r}: ") for p in found]
    return [{"id": i, "file": p["file"] or "the archive", "detail": details[i]} for i, p in enumerate(found)]


def built_in(found: Json) -> bool:
    """Return whether the data set is part of Gantry: it is ready without any preparation of its images."""
    return found["status"] == "ready" and found["preparation"] is None


def facts(found: Json) -> dict[str, str]:
    """Return the main facts of a data set by name; none unless it is ready."""
    if found["status"] != "ready":
        return {}
    shown: dict[str, Any] = {
        "Images": formatting.count(found["num_images"]),
        "Held out": "" if found["num_held_out"] is None else formatting.count(found["num_held_out"]),
        "Size": formatting.image_format(found),
        "Classes": formatting.count(len(found["classes"])) if found["classes"] else "unlabelled",
        "Source": _BUILT_IN if built_in(found) else "",
    }
    return {name: value for name, value in shown.items() if value}
