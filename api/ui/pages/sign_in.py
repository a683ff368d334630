"""Sign in with an API key, if the service asks for one, and sign out.

This is a plain HTML form. It needs no WebSocket, and the key never appears in a URL or on a page.
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
from api.ui.sessions import COOKIE, STAY_SECONDS, BrowserSession, Sessions
from gantry.client import ApiError, BadSettingError, Client, UnreachableError

# A path of this dashboard, not a URL of another site.
_LOCAL_PATH: Final = re.compile(r"/(?![/\\])[^\s\\]*")
_ERRORS: Final = {
    "key": "The service does not accept this key. It is mistyped, revoked or expired.",
    "busy": "This key has sent too many requests. Try again in a minute.",
    "away": "The service does not answer, so the key cannot be checked. Try again.",
}


def register(sessions: Sessions) -> None:
    """Register the page and the two form targets."""

    @ui.page("/sign-in", title="Sign in – Gantry", response_timeout=30)
    async def sign_in(then: str = "/", wrong: str = "") -> Response | None:
        async def build(session: BrowserSession) -> None:
            _build(then, wrong)

        return await frame.page(sessions, "", build)

    @app.post("/sign-in", include_in_schema=False)
    async def submit_key(
        request: Request, key: Annotated[str, Form()] = "", then: Annotated[str, Form()] = "/"
    ) -> Response:
        if not _is_same_origin(request):
            return Response(status_code=403)
        wrong = await _key_error(sessions, key.strip())
        if wrong:
            return _redirect(request, f"/sign-in?{urlencode({'then': then, 'wrong': wrong})}")
        response = _redirect(request, then if _LOCAL_PATH.fullmatch(then) else "/")
        _set_cookie(request, response, sessions.sign_in(key.strip()))
        return response

    @app.post("/sign-out", include_in_schema=False)
    async def sign_out(request: Request) -> Response:
        if not _is_same_origin(request):
            return Response(status_code=403)
        sessions.sign_out(request.cookies.get(COOKIE, ""))
        response = _redirect(request, "/sign-in")
        response.delete_cookie(COOKIE, path=_root(request) or "/")
        return response


def _build(then: str, wrong: str) -> None:
    frame.heading("Sign in")
    with frame.panel():
        ui.label("This service asks for a key, such as gan_live_…").classes("break-words")
        ui.label("The operator of the service creates keys with `gantry keys create`.").classes(
            "gantry-dim break-words"
        )
        if wrong in _ERRORS:
            ui.label(_ERRORS[wrong]).classes("text-negative break-words").props("role=alert")
        with ui.element("form").props(f'method=post action="{frame.mounted("/sign-in")}"').classes("gantry-form"):
            _hidden("then", then)
            with ui.element("label").classes("flex flex-col gap-1"):
                ui.label("Key").classes("text-sm gantry-dim")
                key = ui.element("input").classes("gantry-input")
                key.props("type=password name=key required autofocus autocomplete=current-password")
            ui.button("Sign in", icon="login").props("type=submit")


def _hidden(name: str, value: str) -> None:
    field = ui.element("input").props(f"type=hidden name={name}")
    field.props["value"] = value


async def _key_error(sessions: Sessions, key: str) -> str:
    """Return the key of `_ERRORS` for the problem of an API key, or an empty string if the service accepts it."""
    try:
        with Client(sessions.url, key=key) as client:
            await sessions.of(None).call(client.jobs, limit=1)
    except BadSettingError:
        return "key"
    except UnreachableError:
        return "away"
    except ApiError as error:
        return {401: "key", 403: "", 429: "busy"}.get(error.status, "away")
    return ""


def _is_same_origin(request: Request) -> bool:
    """Return whether a page of this dashboard sent the request. A browser without `Sec-Fetch-Site` is trusted."""
    return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def _root(request: Request) -> str:
    return str(request.scope.get("root_path", ""))


def _redirect(request: Request, path: str) -> RedirectResponse:
    return RedirectResponse(f"{_root(request)}{path}", status_code=303)


def _set_cookie(request: Request, response: Response, token: str) -> None:
    response.set_cookie(
        COOKIE,
        token,
        max_age=STAY_SECONDS,
        path=_root(request) or "/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
