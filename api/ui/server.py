"""The FastAPI application of the dashboard: the pages below /ui, and /healthz."""

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
_RECONNECT_SECONDS: Final = 30.0
# The limit of one form body, or of one message of a WebSocket.
_MAX_BODY_BYTES: Final = 1 << 20
_BODY_SECONDS: Final = 30.0


def register(sessions: Sessions) -> None:
    """Register all pages and routes below `ROOT`."""
    for page in PAGES:
        page.register(sessions)
    files.register(sessions)


def _is_upload(scope: Scope) -> bool:
    """Return whether the request is a streamed upload. The API itself limits its size, and only for valid keys."""
    return (scope["method"], scope["path"]) == ("POST", f"{ROOT}{files.PREFIX}{files.UPLOADS}")


def create_app(api_url: str, *, exposed: bool = False) -> FastAPI:
    """Return the application of the dashboard. `exposed` means that other machines can reach it.

    Raises `ValueError` if `api_url` is not a valid URL.
    """
    sessions = Sessions(api_url)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        sessions.close()

    app = FastAPI(title="Gantry dashboard", openapi_url=None, lifespan=lifespan)
    # Requests can come without a valid key. These limits protect memory, disk and connections from them.
    app.add_middleware(BodyLimit, most_bytes=_MAX_BODY_BYTES, exempt=_is_upload)
    app.add_middleware(BodyTimeout, seconds=_BODY_SECONDS, exempt=_is_upload)
    if exposed:
        app.add_middleware(ExposureGuard, sessions=sessions)
    app.add_middleware(SecurityHeaders, rules=dashboard_headers)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Return that the process is alive."""
        return {"status": "alive"}

    @app.get("/")
    async def home() -> RedirectResponse:
        """Redirect to the list of jobs."""
        return RedirectResponse(f"{ROOT}/", status_code=307)

    async def unknown_path() -> Response | None:
        """Build the page for unknown paths."""
        return await frame.page(sessions, "", frame.show_not_found)

    register(sessions)
    ui.run_with(
        app,
        root=unknown_path,
        mount_path=ROOT,
        title="Gantry",
        favicon="🏗️",
        dark=None,
        language="en-US",
        # After a longer disconnection the browser reloads the page, and drawn samples are lost.
        reconnect_timeout=_RECONNECT_SECONDS,
        # No page uses bindings. The loop that checks them would take CPU time from trainers.
        binding_refresh_interval=None,
        show_welcome_message=False,
    )
    return app
