"""The previews of a job: images from the same latents at many steps."""

from __future__ import annotations

from typing import Final

from nicegui import ui

from api.ui import files, formatting, frame
from api.ui.sessions import BrowserSession
from gantry.client import Json

_FRAME_SECONDS: Final = 0.35


class PreviewsPanel:
    """The previews as an animation with a slider, which follows the newest preview until the visitor moves it."""

    def __init__(self, session: BrowserSession, job_id: str) -> None:
        self._session = session
        self._previews: list[Json] = []
        self._timer: ui.timer | None = None
        self._root = frame.mounted(files.PREFIX)
        with frame.panel():
            frame.section("Previews")
            self._none = ui.label("No preview yet. The first one is drawn before the first step.").props(
                "role=status"
            )
            self._image = frame.image()
            self._step = ui.label()
            with ui.row().classes("w-full items-center no-wrap gap-3") as self._controls:
                self._play_button = ui.button(icon="play_arrow", on_click=self._toggle).props(
                    'round dense aria-label="Play"'
                )
                self._slider = ui.slider(min=0, max=1, value=0, on_change=self._draw).props('aria-label="Preview"')
            self._gif_link = ui.link(
                "Open as animation", f"{files.PREFIX}/v1/jobs/{job_id}/previews.gif", new_tab=True
            )
            self._gif_link.classes("gantry-link")
        self._draw()

    def _toggle(self) -> None:
        """Play from the first preview, or stop if the animation is playing."""
        if self._timer is not None:
            self._stop()
            return
        self._slider.set_value(0)
        with self._controls:
            self._timer = ui.timer(_FRAME_SECONDS, self._next, immediate=False)
        self._play_button.props('icon=stop aria-label="Stop"')

    def _next(self) -> None:
        if self._slider.value >= len(self._previews) - 1:
            self._stop()
        else:
            self._slider.set_value(self._slider.value + 1)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._play_button.props('icon=play_arrow aria-label="Play"')

    async def refresh(self, job: Json) -> None:
        """Update the panel to the current state of the job."""
        follows = self._timer is None and (not self._previews or self._slider.value >= len(self._previews) - 1)
        self._previews = await self._session.call(self._session.client.previews, job["id"])
        last = max(len(self._previews) - 1, 0)
        if self._slider.props["max"] != max(last, 1):
            self._slider.props["max"] = max(last, 1)
        if follows and self._slider.value != last:
            self._slider.set_value(last)
        self._draw()

    def _draw(self) -> None:
        has_previews = bool(self._previews)
        self._none.visible, self._step.visible, self._gif_link.visible = not has_previews, has_previews, has_previews
        self._controls.visible = len(self._previews) > 1
        if not has_previews:
            frame.set_image(self._image, "", "")
            return
        shown = self._previews[min(int(self._slider.value), len(self._previews) - 1)]
        description = f"Preview at step {formatting.count(shown['step'])}"
        self._step.set_text(description)
        frame.set_image(self._image, f"{self._root}{shown['url']}", description)
