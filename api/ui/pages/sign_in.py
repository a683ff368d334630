"""Signing in with a key, where the service asks for one, and out again.

A plain form: it needs no connection of a page, and the key goes into no address and no page.
"""

from __future__ import annotations

import re
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import Form
from nicegui import app, ui
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.ui import frame
from api.ui.sessions import COOKIE, STAY_SECONDS, Desk, Sessions
from gantry.client import ApiError, BadSettingError, Client, UnreachableError

# A page of this dashboard, and no other site's.
_HERE: Final = re.compile(r"/(?![/\\])[^\s\\]*")
_WRONG: Final = {
    "key": "This key opens nothing here: it is mistyped, revoked or over.",
    "busy": "This key has asked too often; try again in a minute.",
    "away": "The service does not answer, so nobody can say whether the key is good. Try again.",
}


def register(sessions: Sessions) -> None:
    @ui.page("/sign-in", title="Sign in – Gantry", response_timeout=30)
    async def sign_in(then: str = "/", wrong: str = "") -> Response | None:
        async def build(session: Desk) -> None:
            _build(then, wrong)

        return await frame.page(sessions, "", build)

    @app.post("/sign-in", include_in_schema=False)
    async def with_key(
        request: Request, key: Annotated[str, Form()] = "", then: Annotated[str, Form()] = "/"
    ) -> Response:
        if not _from_here(request):
            return Response(status_code=403)
        wrong = await _wrong_with(sessions, key.strip())
        if wrong:
            return _to(request, f"/sign-in?{urlencode({'then': then, 'wrong': wrong})}")
        answer = _to(request, then if _HERE.fullmatch(then) else "/")
        _keep(request, answer, sessions.welcome(key.strip()))
        return answer

    @app.post("/sign-out", include_in_schema=False)
    async def out(request: Request) -> Response:
        if not _from_here(request):
            return Response(status_code=403)
        sessions.dismiss(request.cookies.get(COOKIE, ""))
        answer = _to(request, "/sign-in")
        answer.delete_cookie(COOKIE, path=_root(request) or "/")
        return answer


def _build(then: str, wrong: str) -> None:
    frame.heading("Sign in")
    with frame.panel():
        ui.label("This service asks for a key, such as gan_live_…").classes("break-words")
        ui.label("Whoever runs it makes one with `gantry keys create`.").classes("gantry-dim break-words")
        if wrong in _WRONG:
            ui.label(_WRONG[wrong]).classes("text-negative break-words").props("role=alert")
        with ui.element("form").props(f'method=post action="{frame.address("/sign-in")}"').classes("gantry-form"):
            _hidden("then", then)
            with ui.element("label").classes("flex flex-col gap-1"):
                ui.label("Key").classes("text-sm gantry-dim")
                key = ui.element("input").classes("gantry-input")
                key.props("type=password name=key required autofocus autocomplete=current-password")
            ui.button("Sign in", icon="login").props("type=submit")


def _hidden(name: str, value: str) -> None:
    field = ui.element("input").props(f"type=hidden name={name}")
    field.props["value"] = value


async def _wrong_with(sessions: Sessions, key: str) -> str:
    """A word of `_WRONG` for what is wrong with the key; empty: the service takes it."""
    try:
        with Client(sessions.url, key=key) as client:
            await sessions.of(None).ask(client.jobs, limit=1)
    except BadSettingError:
        return "key"
    except UnreachableError:
        return "away"
    except ApiError as error:
        return {401: "key", 403: "", 429: "busy"}.get(error.status, "away")
    return ""


def _from_here(request: Request) -> bool:
    """Whether a page of this dashboard sent it; a browser that does not say is believed."""
    return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def _root(request: Request) -> str:
    return str(request.scope.get("root_path", ""))


def _to(request: Request, path: str) -> RedirectResponse:
    return RedirectResponse(f"{_root(request)}{path}", status_code=303)


def _keep(request: Request, answer: Response, word: str) -> None:
    answer.set_cookie(
        COOKIE,
        word,
        max_age=STAY_SECONDS,
        path=_root(request) or "/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
