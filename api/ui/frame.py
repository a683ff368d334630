"""What every page stands in: the head, the way around, dark or light, and what is shown when something is wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlencode

from nicegui import ui
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.ui import words
from api.ui.sessions import Desk, Sessions
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


async def page(sessions: Sessions, current: str, build: Callable[[Desk], Awaitable[None]]) -> Response | None:
    """A page around what `build` puts there; or, where the service does not let it, what is wrong and what to do.

    Where it asks for a key: the way to the page where one signs in.
    """
    request = ui.context.client.request
    session = sessions.of(request)
    _head(current, session)
    ui.link_target("main")
    with ui.column().classes("w-full gap-4") as place:
        try:
            await build(session)
        except UnreachableError as error:
            place.clear()
            away(session, error)
        except ApiError as error:
            if error.status == 401 and request is not None:
                return RedirectResponse(f"{address('')}{sign_in(request)}", status_code=303)
            place.clear()
            refused(error)
    return None


def sign_in(request: Request) -> str:
    """The page where one signs in, and comes back from to the page of this request."""
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    then = f"{path}?{request.url.query}" if request.url.query else path
    return f"/sign-in?{urlencode({'then': then})}"


def heading(text: str, aside: str = "") -> None:
    """The page's one h1."""
    with ui.row().classes("w-full items-baseline gap-3"):
        _text("h1", text, 1.5)
        if aside:
            ui.label(aside).classes("gantry-dim")


def section(text: str) -> None:
    """An h2."""
    _text("h2", text, 1.15)


def away(session: Desk, error: UnreachableError) -> None:
    """Nobody answers."""
    with panel("alert"):
        heading("The service does not answer")
        ui.label(str(error)).classes("break-words")
        ui.label(f"The dashboard asks {session.url}. Jobs that train go on without it.").classes("gantry-dim")
        ui.button("Try again", icon="refresh", on_click=lambda: ui.navigate.reload())


def refused(error: ApiError) -> None:
    """The service said no."""
    if error.status == 404:
        ui.context.client.status_code = 404
    with panel("alert"):
        heading("There is no such page" if error.status == 404 else "The service refused")
        ui.label(str(error)).classes("break-words")
        if error.status == 404:
            ui.label("It may have been deleted, or the address has a mistake.").classes("gantry-dim")
        ui.link("All jobs", "/").classes("gantry-link")


async def lost(_: Desk) -> None:
    """An address that leads nowhere."""
    ui.context.client.status_code = 404
    with panel("alert"):
        heading("There is no such page")
        ui.label("The address has a mistake.").classes("gantry-dim")
        ui.link("All jobs", "/").classes("gantry-link")


def empty(sentence: str, link: str = "", target: str = "") -> None:
    """Nothing there yet, and what would change that."""
    with panel("status"):
        ui.label(sentence)
        if link:
            ui.link(link, target).classes("gantry-link")


@contextmanager
def panel(role: str = "group") -> Iterator[ui.column]:
    with ui.column().classes("gantry-panel gap-2").props(f"role={role}") as column:
        yield column


def pulse(session: Desk, seconds: float, refresh: Callable[[], Awaitable[bool]]) -> ui.timer:
    """Call `refresh` again and again, until it answers False; a banner stands while the service is away."""
    with ui.row().classes("gantry-panel items-center").props("role=status aria-live=polite") as banner:
        said = ui.label()
        entry = ui.link("Sign in", _again()).classes("gantry-link")
    banner.visible = entry.visible = False

    async def beat() -> None:
        try:
            goes_on = await refresh()
        except UnreachableError:
            said.set_text(
                f"The service at {session.url} does not answer; what you see is the last it said. Trying again."
            )
            banner.visible = True
        except ApiError as error:
            said.set_text(str(error))
            banner.visible = True
            entry.visible = error.status == 401
        else:
            banner.visible = False
            if not goes_on:
                timer.deactivate()

    timer = ui.timer(seconds, beat, immediate=False)
    return timer


def _again() -> str:
    return "/sign-in" if (request := ui.context.client.request) is None else sign_in(request)


def tell(error: ApiError | UnreachableError) -> None:
    """Of something that was asked for on a page: what came of it."""
    ui.notify(str(error), type="negative", multi_line=True, close_button="Close")


def telling(ask: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
    """For an event: what goes wrong is told, and the page stays."""

    async def told() -> None:
        try:
            await ask()
        except (ApiError, UnreachableError) as error:
            tell(error)

    return told


async def sure(question: str, yes: str, no: str = "Keep it") -> bool:
    """Whether it is meant; for what cannot be undone."""
    with ui.dialog() as dialog, ui.card().props("role=alertdialog aria-modal=true") as card:
        card.props["aria-label"] = question
        ui.label(question).classes("break-words")
        with ui.row().classes("w-full justify-end"):
            ui.button(no, on_click=lambda: dialog.submit(False)).props("flat autofocus")
            ui.button(yes, on_click=lambda: dialog.submit(True), color="red-9")
    answer = bool(await dialog)
    dialog.delete()
    return answer


def picture(src: str = "", alt: str = "") -> ui.element:
    """An image with a text for those who do not see it."""
    image = ui.element("img").classes("gantry-picture")
    show(image, src, alt)
    return image


def show(image: ui.element, src: str, alt: str) -> None:
    image.props["src"], image.props["alt"] = src, alt
    image.update()
    image.visible = bool(src)


def chart(height: str = "24rem") -> ui.echart:
    """An empty one; `draw` fills it."""
    return ui.echart({}).classes("w-full").style(f"height: {height}").props("role=img")


def draw(chart: ui.echart, options: dict[str, Any], said: str) -> None:
    """Fill a chart, and say what it shows to those who do not see it."""
    chart.props["aria-label"] = said
    chart.options.clear()
    chart.options.update(options)
    # Before there is a browser it would be waited for, and the page be sent half built.
    if chart.client.has_socket_connection:
        chart.update()


def address(path: str) -> str:
    """A path of the dashboard, from the root of its host: for what the browser is handed as it is."""
    request = ui.context.client.request
    root = "" if request is None else request.scope.get("root_path", "")
    return f"{root}{path}"


def badge(text: str, colours: dict[str, str]) -> ui.badge:
    return ui.badge(text, color=colours.get(text, "blue-grey-7")).classes("text-sm px-2 py-1")


def facts(pairs: dict[str, str]) -> None:
    """Names and values, side by side."""
    with ui.row().classes("gap-x-6 gap-y-1"):
        for name, value in pairs.items():
            with ui.column().classes("gap-0"):
                ui.label(name).classes("text-xs gantry-dim")
                ui.label(value or words.NOTHING).classes("break-words")


def _head(current: str, session: Desk) -> None:
    ui.add_head_html(STYLE)
    # Each is told from white and from black alike.
    ui.colors(primary="#2a78c2", negative="#d93a3a")
    kept = None if (request := ui.context.client.request) is None else request.cookies.get(_THEME)
    dark = ui.dark_mode({"dark": True, "light": False}.get(kept or ""))
    with ui.header().classes("gantry-head items-center gap-2 px-3 py-1"):
        ui.link("To the content", "#main").classes("skip")
        ui.label("Gantry").classes("gantry-name text-lg font-bold")
        with ui.row().classes("gantry-nav gap-1").props('role=navigation aria-label="Pages"'):
            for name, target in _PAGES.items():
                link = ui.link(name, target)
                if name == current:
                    link.props("aria-current=page")

        async def turn() -> None:
            seen = await ui.run_javascript("document.body.classList.contains('body--dark')")
            dark.set_value(not seen)
            word = "light" if seen else "dark"
            ui.run_javascript(f"document.cookie = '{_THEME}={word};path=/;max-age=31536000;SameSite=Lax'")

        ui.button(icon="contrast", on_click=turn).props('flat round color=white aria-label="Dark or light"')
        if session.signed_in:
            with ui.element("form").props(f'method=post action="{address("/sign-out")}"'):
                ui.button(icon="logout").props('type=submit flat round color=white aria-label="Sign out"')


def _text(tag: str, text: str, rem: float) -> ui.label:
    label = ui.label(text).classes("font-semibold break-words").style(f"font-size: {rem}rem; line-height: 1.3")
    label.tag = tag
    return label
