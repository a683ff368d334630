"""The dashboard as an application: the pages under /ui, and a word on whether it is alive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fastapi import FastAPI
from nicegui import ui
from starlette.responses import RedirectResponse

from api.ui import files, frame
from api.ui.desk import Desk
from api.ui.pages import PAGES

ROOT: Final = "/ui"


def register(desk: Desk) -> None:
    """All that is served under `ROOT`."""
    for page in PAGES:
        page.register(desk)
    files.register(desk)


def create_app(api_url: str) -> FastAPI:
    """The application for the one process of the dashboard."""
    desk = Desk(api_url)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        desk.close()

    app = FastAPI(title="Gantry dashboard", openapi_url=None, lifespan=lifespan)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/")
    async def home() -> RedirectResponse:
        return RedirectResponse(f"{ROOT}/", status_code=307)

    async def nowhere() -> None:
        await frame.page(desk, "", frame.lost)

    register(desk)
    ui.run_with(
        app,
        root=nowhere,
        mount_path=ROOT,
        title="Gantry",
        favicon="🏗️",
        dark=None,
        language="en-US",
        # Nothing is bound: a loop that looks for changes would take a trainer's time.
        binding_refresh_interval=None,
        show_welcome_message=False,
    )
    return app
