"""The frame of every page: header, navigation, dark mode, error panels; and small elements that the pages share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlencode

from nicegui import ui
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.ui import formatting
from api.ui.sessions import BrowserSession, Sessions
from api.ui.style import STYLE
from gantry.client import ApiError, UnreachableError

_PAGES: Final = {
    "Jobs": "/",
    "New job": "/submit",
    "Compare": "/compare",
    "Data sets": "/datasets",
    "Workers": "/workers",
}
_THEME: Final = "gantry_theme"
DATASET_COLOURS: Final = {"ready": "green-9", "validating": "blue-8", "failed": "red-9"}
STATUS_COLOURS: Final = {
    "queued": "blue-grey-7",
    "running": "blue-8",
    "paused": "deep-orange-10",
    "succeeded": "green-9",
    "failed": "red-9",
    "cancelled": "grey-8",
}
VERDICT_COLOURS: Final = {
    "unknown": "blue-grey-7",
    "healthy": "green-9",
    "warning": "deep-orange-10",
    "failing": "red-9",
    "info": "blue-8",
    "critical": "red-9",
}


async def page(
    sessions: Sessions, current: str, build: Callable[[BrowserSession], Awaitable[None]]
) -> Response | None:
    """Build a page with the content of `build`, or with an error panel if the service fails or refuses.

    Returns a redirect to the sign-in page if the service answers 401, else None.
    """
    request = ui.context.client.request
    session = sessions.of(request)
    _header(current, session)
    ui.link_target("main")
    with ui.column().classes("w-full gap-4") as content:
        try:
            await build(session)
        except UnreachableError as error:
            content.clear()
            show_unreachable(session, error)
        except ApiError as error:
            if error.status == 401 and request is not None:
                return RedirectResponse(f"{mounted('')}{sign_in_path(request)}", status_code=303)
            content.clear()
            show_refusal(error)
    return None


def sign_in_path(request: Request) -> str:
    """Return the path of the sign-in page that leads back to the page of this request."""
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    then = f"{path}?{request.url.query}" if request.url.query else path
    return f"/sign-in?{urlencode({'then': then})}"


def heading(text: str, aside: str = "") -> None:
    """Add the only h1 of the page, with an optional grey text beside it."""
    with ui.row().classes("w-full items-baseline gap-3"):
        _heading_label("h1", text, 1.5)
        if aside:
            ui.label(aside).classes("gantry-dim")


def section(text: str) -> None:
    """Add an h2."""
    _heading_label("h2", text, 1.15)


def show_unreachable(session: BrowserSession, error: UnreachableError) -> None:
    """Show that the service does not answer."""
    with panel("alert"):
        heading("The service does not answer")
        ui.label(str(error)).classes("break-words")
        ui.label(f"The dashboard uses the service at {session.url}. Jobs that are training continue.").classes(
            "gantry-dim"
        )
        ui.button("Try again", icon="refresh", on_click=lambda: ui.navigate.reload())


def show_refusal(error: ApiError) -> None:
    """Show the error with which the service refused a request; a 404 sets the status of the page, too."""
    if error.status == 404:
        ui.context.client.status_code = 404
    with panel("alert"):
        heading("There is no such page" if error.status == 404 else "The service refused the request")
        ui.label(str(error)).classes("break-words")
        if error.status == 404:
            ui.label("It may have been deleted, or the address is wrong.").classes("gantry-dim")
        ui.link("All jobs", "/").classes("gantry-link")


async def show_not_found(_: BrowserSession) -> None:
    """Show a 404 for an unknown path."""
    ui.context.client.status_code = 404
    with panel("alert"):
        heading("There is no such page")
        ui.label("The address is wrong.").classes("gantry-dim")
        ui.link("All jobs", "/").classes("gantry-link")


def show_empty(sentence: str, link: str = "", target: str = "") -> None:
    """Show that there is nothing yet, with an optional link to what creates the first one."""
    with panel("status"):
        ui.label(sentence)
        if link:
            ui.link(link, target).classes("gantry-link")


@contextmanager
def panel(role: str = "group") -> Iterator[ui.column]:
    """Open a bordered column with this ARIA role."""
    with ui.column().classes("gantry-panel gap-2").props(f"role={role}") as column:
        yield column


def poll(session: BrowserSession, seconds: float, refresh: Callable[[], Awaitable[bool]]) -> ui.timer:
    """Call `refresh` every `seconds` until it returns False. Show a banner while the service fails or refuses."""
    with ui.row().classes("gantry-panel items-center").props("role=status aria-live=polite") as banner:
        message = ui.label()
        sign_in_link = ui.link("Sign in", _current_sign_in()).classes("gantry-link")
    banner.visible = sign_in_link.visible = False

    async def refresh_once() -> None:
        try:
            active = await refresh()
        except UnreachableError:
            message.set_text(
                f"The service at {session.url} does not answer. This page shows the last known state and retries."
            )
            banner.visible = True
        except ApiError as error:
            message.set_text(str(error))
            banner.visible = True
            sign_in_link.visible = error.status == 401
        else:
            banner.visible = False
            if not active:
                timer.deactivate()

    timer = ui.timer(seconds, refresh_once, immediate=False)
    return timer


def _current_sign_in() -> str:
    """Return the path of the sign-in page for the page that is being built."""
    return "/sign-in" if (request := ui.context.client.request) is None else sign_in_path(request)


def notify_error(error: ApiError | UnreachableError) -> None:
    """Show a notification with the error of an action."""
    ui.notify(str(error), type="negative", multi_line=True, close_button="Close")


def notifying(action: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
    """Return an event handler that awaits `action()` and shows its API error as a notification."""

    async def handle() -> None:
        try:
            await action()
        except (ApiError, UnreachableError) as error:
            notify_error(error)

    return handle


async def confirm(question: str, yes: str, no: str = "No, go back") -> bool:
    """Ask for confirmation of an action that cannot be undone, and return the answer."""
    with ui.dialog().props("role=alertdialog") as dialog, ui.card():
        dialog.props["aria-label"] = question
        ui.label(question).classes("break-words")
        with ui.row().classes("w-full justify-end"):
            ui.button(no, on_click=lambda: dialog.submit(False)).props("flat autofocus")
            ui.button(yes, on_click=lambda: dialog.submit(True), color="red-9")
    answer = bool(await dialog)
    dialog.delete()
    return answer


def image(src: str = "", alt: str = "") -> ui.element:
    """Add an image with an alternative text; without `src` it is hidden."""
    element = ui.element("img").classes("gantry-picture")
    set_image(element, src, alt)
    return element


def set_image(image: ui.element, src: str, alt: str) -> None:
    """Set source and alternative text of an image; hide it if `src` is empty."""
    if (image.props.get("src"), image.props.get("alt")) != (src, alt):
        image.props["src"], image.props["alt"] = src, alt
    image.visible = bool(src)


def chart(height: str = "24rem") -> ui.echart:
    """Add an empty chart; `set_chart` fills it."""
    return ui.echart({}).classes("w-full").style(f"height: {height}").props("role=img")


def set_chart(chart: ui.echart, options: dict[str, Any], description: str) -> None:
    """Set the options and the text alternative of a chart. Nothing is sent to the browser if they are the same."""
    if (dict(chart.options), chart.props.get("aria-label")) == (options, description):
        return
    chart.props["aria-label"] = description
    chart.options.clear()
    chart.options.update(options)
    # Without a connected browser, NiceGUI would wait for one and send the page half built.
    if chart.client.has_socket_connection:
        chart.update()


def code(text: str = "") -> ui.code:
    """Add a block of JSON with a button that copies it."""
    block = ui.code(text, language="json").classes("w-full")
    block.copy_button.props('aria-label="Copy"')
    return block


def mounted(path: str) -> str:
    """Return `path` with the mount path in front, for URLs that NiceGUI does not rewrite itself."""
    request = ui.context.client.request
    root = "" if request is None else request.scope.get("root_path", "")
    return f"{root}{path}"


def badge(text: str, colours: dict[str, str]) -> ui.badge:
    """Add a badge in the colour that `colours` has for its text."""
    return ui.badge(text, color=colours.get(text, "blue-grey-7")).classes("text-sm px-2 py-1")


class Facts:
    """Pairs of name and value that change in place."""

    def __init__(self) -> None:
        self._row = ui.row().classes("gap-x-6 gap-y-1")
        self._values: dict[str, ui.label] = {}

    def show(self, pairs: dict[str, str]) -> None:
        """Show these pairs. Nothing is sent to the browser for those that are the same as before."""
        if list(pairs) != list(self._values):
            self._row.clear()
            with self._row:
                self._values = add_facts(pairs)
        for name, value in pairs.items():
            self._values[name].set_text(value or formatting.NO_VALUE)


def add_facts(pairs: dict[str, str]) -> dict[str, ui.label]:
    """Add pairs of name and value in a row; return the label of each value."""
    values = {}
    with ui.row().classes("gap-x-6 gap-y-1"):
        for name, value in pairs.items():
            with ui.column().classes("gap-0"):
                ui.label(name).classes("text-xs gantry-dim")
                values[name] = ui.label(value or formatting.NO_VALUE).classes("break-words")
    return values


def _header(current: str, session: BrowserSession) -> None:
    ui.add_head_html(STYLE)
    # Both colours have enough contrast on white and on black.
    ui.colors(primary="#2a78c2", negative="#d93a3a")
    theme = None if (request := ui.context.client.request) is None else request.cookies.get(_THEME)
    dark = ui.dark_mode({"dark": True, "light": False}.get(theme or ""))
    with ui.header().classes("gantry-head items-center gap-2 px-3 py-1"):
        ui.link("Skip to content", "#main").classes("skip")
        ui.label("Gantry").classes("gantry-name text-lg font-bold")
        with ui.row().classes("gantry-nav gap-1").props('role=navigation aria-label="Pages"'):
            for name, target in _PAGES.items():
                link = ui.link(name, target)
                if name == current:
                    link.props("aria-current=page")

        async def switch_theme() -> None:
            was_dark = await ui.run_javascript("document.body.classList.contains('body--dark')")
            dark.set_value(not was_dark)
            new_theme = "light" if was_dark else "dark"
            ui.run_javascript(f"document.cookie = '{_THEME}={new_theme};path=/;max-age=31536000;SameSite=Lax'")

        ui.button(icon="contrast", on_click=switch_theme).props(
            'flat round color=white aria-label="Switch between dark and light"'
        )
        if session.signed_in:
            with ui.element("form").props(f'method=post action="{mounted("/sign-out")}"'):
                ui.button(icon="logout").props('type=submit flat round color=white aria-label="Sign out"')


def _heading_label(tag: str, text: str, rem: float) -> ui.label:
    label = ui.label(text).classes("font-semibold break-words").style(f"font-size: {rem}rem; line-height: 1.3")
    label.tag = tag
    return label
