"""Bringing one's own images: a zip, what is done to its images, and what is wrong where it is refused."""

from __future__ import annotations

import json
from typing import Any, Final

from nicegui import events, ui
from starlette.responses import Response

from api.ui import files, frame, tables, words
from api.ui.body import whole
from api.ui.pages.dataset import problems
from api.ui.sessions import Desk, Sessions
from gantry.client import Json

_SIDES: Final = (16, 128)
_WHAT: Final = (
    "A zip of PNG, JPEG or WebP images, 64 at the least: a folder a class, two at the least, or all images at the "
    "top, without labels."
)
_POLICY: Final = (
    "Each image is turned as its EXIF tag says, laid on white where it is transparent, cropped to its central square "
    "and scaled. All become grey if none has colours, else RGB. One in ten of each class is held out for evaluations."
)
_SIZE_HINT: Final = (
    "16 to 128. Empty: their own size if all are squares of one; else 64, or 32 where most are smaller"
)
_PROBLEMS: Final = {"detail": ("What is wrong", tables.TEXT)}
_CUT_OFF: Final = "The upload broke off. The service may be away, or the file be larger than it takes."
# A form cannot be sent through the page's own connection: the browser sends it, and tells how far it is.
_SEND: Final = """
(() => {
  const file = getHtmlElement(%(input)d).files[0];
  const tell = (said) => emitEvent("%(event)s", said);
  if (!file) return tell({missing: true});
  const form = new FormData();
  for (const [name, value] of Object.entries(%(fields)s)) form.append(name, value);
  form.append("file", file);
  const sending = new XMLHttpRequest();
  let due = 0;
  sending.upload.onprogress = (e) => {
    if (Date.now() < due && e.loaded < e.total) return;
    due = Date.now() + 200;
    tell({sent: e.loaded, total: e.total});
  };
  sending.onloadend = () => tell({status: sending.status, body: sending.responseText});
  sending.open("POST", %(address)s);
  sending.setRequestHeader("%(ours)s", "1");
  sending.send(form);
})()
"""
_EVENT: Final = "gantry_upload"


def register(sessions: Sessions) -> None:
    @ui.page("/datasets/upload", title="Your own images – Gantry", response_timeout=30)
    async def upload() -> Response | None:
        return await frame.page(sessions, "Data sets", _build)


async def _build(session: Desk) -> None:
    # Whether anybody is there is said before a long upload, not after it.
    await session.ask(session.client.datasets)
    frame.heading("Your own images")
    _UploadPage().build()


class _UploadPage:
    """The form, how far it is, and what came of it."""

    def build(self) -> None:
        self._address = frame.address(f"{files.PREFIX}/v1/datasets")
        with frame.panel("form"):
            ui.label(_WHAT).classes("break-words")
            with ui.element("label").classes("flex flex-col gap-1 max-w-full"):
                ui.label("Zip file").classes("text-sm gantry-dim")
                self._file = (
                    ui.element("input").props('type=file accept=".zip,application/zip"').classes("gantry-file")
                )
            self._name = ui.input("Name, for jobs").classes("w-full").props('hint="Empty: the name of the file"')
            self._side = ui.number("Size in pixels", min=_SIDES[0], max=_SIDES[1]).classes("w-full")
            self._side.props(f'hint="{_SIZE_HINT}"')
            frame.section("What is done to the images")
            ui.label(_POLICY).classes("break-words")
            self._button = ui.button("Upload", icon="upload", on_click=self._send)
            self._bar = ui.linear_progress(0, show_value=False).props('aria-label="Upload" rounded')
            self._said = ui.label().props("role=status aria-live=polite").classes("break-words")
        with frame.panel("alert") as self._refused:
            frame.section("It was refused")
            ui.label("Nothing of it is kept. Mend these, and upload it again.")
            self._problems = tables.table("Problems", _PROBLEMS, [])
        self._bar.visible = self._refused.visible = False
        ui.on(_EVENT, self._hear)

    def _send(self) -> None:
        fields = {"name": (self._name.value or "").strip(), "size": str(whole(self._side.value or ""))}
        self._refused.visible = False
        self._said.set_text("")
        self._button.disable()
        sent = {
            "input": self._file.id,
            "event": _EVENT,
            "fields": json.dumps({name: value for name, value in fields.items() if value}),
            "address": json.dumps(self._address),
            "ours": files.OURS,
        }
        ui.run_javascript(_SEND % sent)

    def _hear(self, event: events.GenericEventArguments) -> None:
        said: dict[str, Any] = event.args
        if "sent" in said:
            self._follow(said["sent"], said["total"])
            return
        self._button.enable()
        self._bar.visible = False
        if "missing" in said:
            self._said.set_text("Choose a zip first.")
        else:
            self._end(said["status"], said["body"])

    def _follow(self, sent: int, total: int) -> None:
        self._bar.visible = True
        self._bar.set_value(sent / total)
        done = f"{words.size(sent)} of {words.size(total)}"
        self._said.set_text(f"{done}. Its directory is looked at." if sent == total else f"{done} sent.")

    def _end(self, status: int, body: str) -> None:
        answer = _read(body)
        if status == 201:
            ui.navigate.to(f"/datasets/{answer['id']}")
            return
        errors = answer.get("errors") or []
        self._refused.visible = bool(errors)
        self._problems.rows = problems([{"file": None, **error} for error in errors])
        self._said.set_text("" if errors else answer.get("detail") or _CUT_OFF)


def _read(body: str) -> Json:
    try:
        read = json.loads(body)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}
