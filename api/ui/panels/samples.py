"""Images drawn on the spot, by class."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from nicegui import ui

from api.ui import files, frame, words
from api.ui.body import whole
from api.ui.sessions import Desk
from gantry.client import ApiError, Json, UnreachableError

EVERY: Final = "every class"
_COUNT: Final = 8
_BY_ITSELF: Final = ""
"""The service's own choice, which is the command line's too."""
_BY_NAME: Final = {_BY_ITSELF: "best, else last", "best": "best", "last": "last"}


@dataclass
class SampleRequest:
    """The fields of what is to be drawn, on the page."""

    label: ui.select | None
    count: ui.number
    seed: ui.number
    checkpoint: ui.select

    @classmethod
    def build(cls, labels: Sequence[str]) -> SampleRequest:
        """The fields, in a row; no class to pick where there is none."""
        with ui.row().classes("items-end gap-3"):
            picked = ui.select([EVERY, *labels], value=EVERY, label="Class").classes("w-40") if labels else None
            count = ui.number("Images of each", value=_COUNT, min=1, max=64, precision=0).classes("w-28")
            seed = ui.number("Seed", value=0, min=0, precision=0).classes("w-28")
            checkpoint = ui.select(dict(_BY_NAME), value=_BY_ITSELF, label="Checkpoint").classes("w-36")
        return cls(picked, count, seed, checkpoint)

    def offer(self, found: Sequence[Json]) -> None:
        """These checkpoints may be drawn from, beside the best and the last."""
        steps = {one["id"]: f"step {words.count(one['step'])}" for one in found}
        kept = self.checkpoint.value if self.checkpoint.value in {**_BY_NAME, **steps} else _BY_ITSELF
        self.checkpoint.set_options({**_BY_NAME, **steps}, value=kept)

    def query(self) -> dict[str, Any]:
        """For the client's `samples`."""
        label = None if self.label is None or self.label.value == EVERY else str(self.label.value)
        return {
            "labels": [] if label is None else [label],
            "n": whole(self.count.value or _COUNT),
            "seed": whole(self.seed.value or 0),
            "checkpoint": self.checkpoint.value or None,
        }


def in_words(query: dict[str, Any]) -> str:
    """What was drawn, for those who do not see it."""
    of = f" of {query['labels'][0]}" if query["labels"] else ""
    return f"{query['n']} images{of}, seed {query['seed']}, checkpoint {query['checkpoint'] or _BY_NAME[_BY_ITSELF]}"


def as_url(png: bytes) -> str:
    """A picture as the address of itself."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


class SamplesPanel:
    """The class picker of a job's page."""

    def __init__(self, session: Desk, job: Json, classes: Sequence[Json]) -> None:
        self._session, self._job_id = session, job["id"]
        self._last: str | None = None
        with frame.panel():
            frame.section("Draw samples")
            self._none = ui.label("No checkpoint yet: there is nothing to draw from.").props("role=status")
            with ui.column().classes("w-full gap-3") as self._some:
                self._wish = SampleRequest.build([c["label"] for c in classes])
                with ui.row().classes("items-center gap-3"):
                    self._button = ui.button("Draw", icon="brush", on_click=self._draw)
                    self._zip = ui.link("Download as zip", "#").classes("gantry-link").props("download=samples.zip")
                self._said = ui.label().props("role=status aria-live=polite").classes("break-words")
                self._image = frame.picture()
        self._zip.visible = False
        self._show(job)

    async def refresh(self, job: Json) -> None:
        self._show(job)
        if job["last_checkpoint_id"] != self._last:
            self._wish.offer((await self._session.ask(self._session.client.checkpoints, self._job_id))["data"])
            self._last = job["last_checkpoint_id"]

    def _show(self, job: Json) -> None:
        ready = job["last_checkpoint_id"] is not None
        self._none.visible, self._some.visible = not ready, ready

    async def _draw(self) -> None:
        query = self._wish.query()
        self._button.disable()
        self._said.set_text("Drawing …")
        try:
            png = await self._session.ask(self._session.client.samples, self._job_id, **query)
        except (ApiError, UnreachableError) as error:
            self._said.set_text(str(error))
            frame.show(self._image, "", "")
            self._zip.visible = False
        else:
            said = in_words(query)
            self._said.set_text(f"{said[0].upper()}{said[1:]}.")
            frame.show(self._image, as_url(png), said)
            self._offer(query)
        finally:
            self._button.enable()

    def _offer(self, query: dict[str, Any]) -> None:
        asked = [("label", label) for label in query["labels"]]
        asked += [(name, query[name]) for name in ("n", "seed", "checkpoint") if query[name] is not None]
        path = f"{files.PREFIX}/v1/jobs/{self._job_id}/samples?{urlencode([*asked, files.AS_ZIP])}"
        self._zip.props["href"] = path
        self._zip.update()
        self._zip.visible = True
