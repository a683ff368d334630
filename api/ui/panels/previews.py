"""The same latents, drawn again and again while the job trains."""

from __future__ import annotations

from typing import Final

from nicegui import ui

from api.ui import files, frame, words
from api.ui.sessions import Desk
from gantry.client import Json

_FRAME_SECONDS: Final = 0.35


class PreviewsPanel:
    """A film of them, with a slider; it stays at the newest until it is moved."""

    def __init__(self, session: Desk, job_id: str) -> None:
        self._session = session
        self._drawn: list[Json] = []
        self._timer: ui.timer | None = None
        self._root = frame.address(files.PREFIX)
        with frame.panel():
            frame.section("Previews")
            self._none = ui.label("No preview yet; the first is drawn before the first step.").props("role=status")
            self._image = frame.picture()
            self._step = ui.label()
            with ui.row().classes("w-full items-center no-wrap gap-3") as self._reel:
                self._play = ui.button(icon="play_arrow", on_click=self._start).props('round dense aria-label="Play"')
                self._slider = ui.slider(min=0, max=1, value=0, on_change=self._draw).props('aria-label="Preview"')
            self._film = ui.link("As an animation", f"{files.PREFIX}/v1/jobs/{job_id}/previews.gif", new_tab=True)
            self._film.classes("gantry-link")
        self._draw()

    def _start(self) -> None:
        """Play from the first preview on; or, while it plays, stop."""
        if self._timer is not None:
            self._stop()
            return
        self._slider.set_value(0)
        with self._reel:
            self._timer = ui.timer(_FRAME_SECONDS, self._next, immediate=False)
        self._play.props('icon=stop aria-label="Stop"')

    def _next(self) -> None:
        if self._slider.value >= len(self._drawn) - 1:
            self._stop()
        else:
            self._slider.set_value(self._slider.value + 1)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._play.props('icon=play_arrow aria-label="Play"')

    async def refresh(self, job: Json) -> None:
        follows = self._timer is None and (not self._drawn or self._slider.value >= len(self._drawn) - 1)
        self._drawn = await self._session.ask(self._session.client.previews, job["id"])
        last = max(len(self._drawn) - 1, 0)
        self._slider.props["max"] = max(last, 1)
        self._slider.update()
        if follows and self._slider.value != last:
            self._slider.set_value(last)
        self._draw()

    def _draw(self) -> None:
        some = bool(self._drawn)
        self._none.visible, self._step.visible, self._film.visible = not some, some, some
        self._reel.visible = len(self._drawn) > 1
        if not some:
            frame.show(self._image, "", "")
            return
        shown = self._drawn[min(int(self._slider.value), len(self._drawn) - 1)]
        said = f"Preview at step {words.count(shown['step'])}"
        self._step.set_text(said)
        frame.show(self._image, f"{self._root}{shown['url']}", said)
