"""The upload of a data set: the zip file, the preparation of its images, and the problems of a refused file."""

from __future__ import annotations

import json
from typing import Any, Final

from nicegui import events, ui
from starlette.responses import Response

from api.ui import files, formatting, frame, tables
from api.ui.job_form import whole
from api.ui.pages.dataset import problems
from api.ui.sessions import BrowserSession, Sessions
from gantry.client import Json

_SIZE_RANGE: Final = (16, 128)
_CONTENT: Final = (
    "A zip file with at least 64 PNG, JPEG or WebP images. With labels: one folder for each class, at least two "
    "classes. Without labels: all images at the top level."
)
_POLICY: Final = (
    "Each image is rotated as its EXIF tag says, placed on white where it is transparent, cropped to its central "
    "square and scaled. If no pixel has a colour, all become grey, otherwise all become RGB. One image in ten of "
    "each class is held out for evaluations."
)
_SIZE_HINT: Final = (
    "16 to 128. Default: the size of the images if all are squares of one size; otherwise 64, or 32 if most are "
    "smaller"
)
_PROBLEMS: Final = {"detail": ("Problem", tables.TEXT)}
_INTERRUPTED: Final = (
    "The upload was interrupted. The service may be down, or the file may be larger than it accepts."
)
# NiceGUI's WebSocket cannot carry the file. So the browser sends the form itself and reports its progress as events.
_SEND_SCRIPT: Final = """
(() => {
  const file = getHtmlElement(%(input)d).files[0];
  const report = (data) => emitEvent("%(event)s", data);
  if (!file) return report({missing: true});
  const form = new FormData();
  for (const [name, value] of Object.entries(%(fields)s)) form.append(name, value);
  form.append("file", file);
  const sending = new XMLHttpRequest();
  let due = 0;
  sending.upload.onprogress = (e) => {
    if (Date.now() < due && e.loaded < e.total) return;
    due = Date.now() + 200;
    report({sent: e.loaded, total: e.total});
  };
  sending.onloadend = () => report({status: sending.status, body: sending.responseText});
  sending.open("POST", %(address)s);
  sending.setRequestHeader("%(header)s", "1");
  sending.send(form);
})()
"""
_EVENT: Final = "gantry_upload"


def register(sessions: Sessions) -> None:
    """Register the page."""

    @ui.page("/datasets/upload", title="Your own images – Gantry", response_timeout=30)
    async def upload() -> Response | None:
        return await frame.page(sessions, "Data sets", _build)


async def _build(session: BrowserSession) -> None:
    # Find out before a long upload, not after it, whether the service answers.
    await session.call(session.client.datasets)
    frame.heading("Your own images")
    _UploadPage().build()


class _UploadPage:
    """The form, the progress of the upload and its result."""

    def build(self) -> None:
        self._address = frame.mounted(f"{files.PREFIX}/v1/datasets")
        with frame.panel("form"):
            ui.label(_CONTENT).classes("break-words")
            with ui.element("label").classes("flex flex-col gap-1 max-w-full"):
                ui.label("Zip file").classes("text-sm gantry-dim")
                self._file = (
                    ui.element("input").props('type=file accept=".zip,application/zip"').classes("gantry-file")
                )
            self._name = ui.input("Name (optional)").classes("w-full").props('hint="Default: the name of the file"')
            self._side = ui.number("Size in pixels", min=_SIZE_RANGE[0], max=_SIZE_RANGE[1]).classes("w-full")
            self._side.props(f'hint="{_SIZE_HINT}"')
            frame.section("What is done to the images")
            ui.label(_POLICY).classes("break-words")
            self._button = ui.button("Upload", icon="upload", on_click=self._send)
            self._bar = ui.linear_progress(0, show_value=False).props('aria-label="Upload" rounded')
            self._message = ui.label().props("role=status aria-live=polite").classes("break-words")
        with frame.panel("alert") as self._refused:
            frame.section("The upload was refused")
            ui.label("No image was kept. Correct these problems and upload the file again.")
            self._problems = tables.table("Problems", _PROBLEMS, [])
        self._bar.visible = self._refused.visible = False
        ui.on(_EVENT, self._on_event)

    def _send(self) -> None:
        fields = {"name": (self._name.value or "").strip(), "size": str(whole(self._side.value or ""))}
        self._refused.visible = False
        self._message.set_text("")
        self._button.disable()
        parameters = {
            "input": self._file.id,
            "event": _EVENT,
            "fields": json.dumps({name: value for name, value in fields.items() if value}),
            "address": json.dumps(self._address),
            "header": files.UPLOAD_HEADER,
        }
        ui.run_javascript(_SEND_SCRIPT % parameters)

    def _on_event(self, event: events.GenericEventArguments) -> None:
        data: dict[str, Any] = event.args
        if "sent" in data:
            self._show_progress(data["sent"], data["total"])
            return
        self._button.enable()
        self._bar.visible = False
        if "missing" in data:
            self._message.set_text("Choose a zip file first.")
        else:
            self._show_result(data["status"], data["body"])

    def _show_progress(self, sent: int, total: int) -> None:
        self._bar.visible = True
        self._bar.set_value(sent / total)
        done = f"{formatting.size(sent)} of {formatting.size(total)}"
        self._message.set_text(f"{done} sent. The service checks the archive." if sent == total else f"{done} sent.")

    def _show_result(self, status: int, body: str) -> None:
        response = _parse(body)
        if status == 201:
            ui.navigate.to(f"/datasets/{response['id']}")
            return
        errors = response.get("errors") or []
        self._refused.visible = bool(errors)
        self._problems.show(problems([{"file": None, **error} for error in errors]))
        self._message.set_text("" if errors else response.get("detail") or _INTERRUPTED)


def _parse(body: str) -> Json:
    """Return the JSON object in `body`, or an empty one if there is none."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
