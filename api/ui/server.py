"""The dashboard as an application: the pages under /ui, and a word on whether it is alive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import FastAPI
from nicegui import ui
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from api.http.middleware import BodyLimit, BodyTimeout
from api.http.security_headers import SecurityHeaders, dashboard_headers
from api.ui import files, frame
from api.ui.exposure import ExposureGuard
from api.ui.pages import PAGES
from api.ui.sessions import Sessions

ROOT: Final = "/ui"
_AWAY_SECONDS: Final = 30.0
# Of a form, or of what a page's own wire carries at a time.
_MOST_BYTES: Final = 1 << 20
_BODY_SECONDS: Final = 30.0


def register(sessions: Sessions) -> None:
    """All that is served under `ROOT`."""
    for page in PAGES:
        page.register(sessions)
    files.register(sessions)


def _takes_files(scope: Scope) -> bool:
    """What is passed on as it comes, by somebody who is signed in; the API counts it."""
    return (scope["method"], scope["path"]) == ("POST", f"{ROOT}{files.PREFIX}{files.UPLOADS}")


def create_app(api_url: str, *, exposed: bool = False) -> FastAPI:
    """The application for the one process of the dashboard. `exposed`: others than this machine's can reach it.

    Raises `ValueError` where `api_url` is none.
    """
    sessions = Sessions(api_url)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        sessions.close()

    app = FastAPI(title="Gantry dashboard", openapi_url=None, lifespan=lifespan)
    # Whoever has no key yet gets a sentence, and neither our disk nor our patience.
    app.add_middleware(BodyLimit, most_bytes=_MOST_BYTES, exempt=_takes_files)
    app.add_middleware(BodyTimeout, seconds=_BODY_SECONDS, exempt=_takes_files)
    if exposed:
        app.add_middleware(ExposureGuard, sessions=sessions)
    app.add_middleware(SecurityHeaders, rules=dashboard_headers)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/")
    async def home() -> RedirectResponse:
        return RedirectResponse(f"{ROOT}/", status_code=307)

    async def nowhere() -> Response | None:
        return await frame.page(sessions, "", frame.lost)

    register(sessions)
    ui.run_with(
        app,
        root=nowhere,
        mount_path=ROOT,
        title="Gantry",
        favicon="🏗️",
        dark=None,
        language="en-US",
        # A page that was cut off for longer is loaded anew, and what was drawn on it is gone.
        reconnect_timeout=_AWAY_SECONDS,
        # Nothing is bound: a loop that looks for changes would take a trainer's time.
        binding_refresh_interval=None,
        show_welcome_message=False,
    )
    return app
