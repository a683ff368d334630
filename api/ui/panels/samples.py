"""Samples: images that are drawn on request, by class."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from nicegui import ui

from api.ui import files, formatting, frame
from api.ui.job_form import whole
from api.ui.sessions import BrowserSession
from gantry.client import ApiError, Json, UnreachableError

ALL_CLASSES: Final = "all classes"
_DEFAULT_COUNT: Final = 8
_DEFAULT: Final = ""
"""The default of the service, which is also that of the command line."""
_CHECKPOINTS: Final = {_DEFAULT: "best, else last", "best": "best", "last": "last"}


@dataclass
class SampleRequest:
    """The inputs of one sample request."""

    label: ui.select | None
    count: ui.number
    seed: ui.number
    checkpoint: ui.select

    @classmethod
    def build(cls, labels: Sequence[str]) -> SampleRequest:
        """Build the inputs in a row. Without labels there is no input for the class."""
        with ui.row().classes("items-end gap-3"):
            label = (
                ui.select([ALL_CLASSES, *labels], value=ALL_CLASSES, label="Class").classes("w-40")
                if labels
                else None
            )
            title = "Images per class" if labels else "Images"
            count = ui.number(title, value=_DEFAULT_COUNT, min=1, max=64, precision=0).classes("w-28")
            seed = ui.number("Seed", value=0, min=0, precision=0).classes("w-28")
            checkpoint = ui.select(dict(_CHECKPOINTS), value=_DEFAULT, label="Checkpoint").classes("w-36")
        return cls(label, count, seed, checkpoint)

    def offer(self, found: Sequence[Json]) -> None:
        """Offer these checkpoints in addition to the best and the last."""
        steps = {one["id"]: f"step {formatting.count(one['step'])}" for one in found}
        selected = self.checkpoint.value if self.checkpoint.value in {**_CHECKPOINTS, **steps} else _DEFAULT
        self.checkpoint.set_options({**_CHECKPOINTS, **steps}, value=selected)

    def query(self) -> dict[str, Any]:
        """Return the keyword arguments for `Client.samples`."""
        label = None if self.label is None or self.label.value == ALL_CLASSES else str(self.label.value)
        return {
            "labels": [] if label is None else [label],
            "n": whole(self.count.value or _DEFAULT_COUNT),
            "seed": whole(self.seed.value or 0),
            "checkpoint": self.checkpoint.value or None,
        }


def describe_request(query: dict[str, Any]) -> str:
    """Return a text alternative of the samples of a request."""
    of = f" of {query['labels'][0]}" if query["labels"] else ""
    return (
        f"{query['n']} images{of}, seed {query['seed']}, checkpoint {query['checkpoint'] or _CHECKPOINTS[_DEFAULT]}"
    )


def as_url(png: bytes) -> str:
    """Return a PNG as a data URL."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


class SamplesPanel:
    """The panel of a job's page that draws samples."""

    def __init__(self, session: BrowserSession, job: Json, classes: Sequence[Json]) -> None:
        self._session, self._job_id = session, job["id"]
        self._last: str | None = None
        with frame.panel():
            frame.section("Draw samples")
            self._no_checkpoint = ui.label("No checkpoint yet. Samples are drawn from a checkpoint.").props(
                "role=status"
            )
            with ui.column().classes("w-full gap-3") as self._content:
                self._request = SampleRequest.build([c["label"] for c in classes])
                with ui.row().classes("items-center gap-3"):
                    self._button = ui.button("Draw", icon="brush", on_click=self._draw)
                    self._zip = ui.link("Download as zip", "#").classes("gantry-link").props("download=samples.zip")
                self._message = ui.label().props("role=status aria-live=polite").classes("break-words")
                self._image = frame.image()
        self._zip.visible = False
        self._show(job)

    async def refresh(self, job: Json) -> None:
        """Update the panel to the current state of the job."""
        self._show(job)
        if job["last_checkpoint_id"] != self._last:
            self._request.offer((await self._session.call(self._session.client.checkpoints, self._job_id))["data"])
            self._last = job["last_checkpoint_id"]

    def _show(self, job: Json) -> None:
        ready = job["last_checkpoint_id"] is not None
        self._no_checkpoint.visible, self._content.visible = not ready, ready

    async def _draw(self) -> None:
        query = self._request.query()
        self._button.disable()
        self._message.set_text("Drawing …")
        try:
            png = await self._session.call(self._session.client.samples, self._job_id, **query)
        except (ApiError, UnreachableError) as error:
            self._message.set_text(str(error))
            frame.set_image(self._image, "", "")
            self._zip.visible = False
        else:
            description = describe_request(query)
            self._message.set_text(f"{description[0].upper()}{description[1:]}.")
            frame.set_image(self._image, as_url(png), description)
            self._show_zip_link(query)
        finally:
            self._button.enable()

    def _show_zip_link(self, query: dict[str, Any]) -> None:
        parameters = [("label", label) for label in query["labels"]]
        parameters += [(name, query[name]) for name in ("n", "seed", "checkpoint") if query[name] is not None]
        path = f"{files.PREFIX}/v1/jobs/{self._job_id}/samples?{urlencode([*parameters, files.AS_ZIP])}"
        self._zip.props["href"] = path
        self._zip.update()
        self._zip.visible = True
