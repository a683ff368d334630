"""A dashboard on a network, before a service with API keys, before one without, and before none."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from api.ui import exposure
from api.ui.exposure import ExposureGuard
from api.ui.sessions import Sessions
from jobs.runtime.settings import Settings
from tests.api.live_service import serving


def _dashboard(url: str) -> TestClient:
    async def page(_: object) -> PlainTextResponse:
        return PlainTextResponse("a page")

    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("news")
        await socket.close()

    app = Starlette(routes=[Route("/ui/", page), Route("/healthz", page), WebSocketRoute("/ui/stream", stream)])
    return TestClient(ExposureGuard(app, Sessions(url)))


def test_nothing_of_a_service_without_keys_is_shown(sqlite_settings: Settings) -> None:
    with serving(sqlite_settings) as live:
        visitor = _dashboard(live.url)
        answer = visitor.get("/ui/")
        assert answer.status_code == 403 and "GANTRY_AUTH=on" in answer.text and "a page" not in answer.text
        with pytest.raises(WebSocketDisconnect), visitor.websocket_connect("/ui/stream"):
            pass
        assert visitor.get("/healthz").status_code == 200, "the health check is not blocked"


def test_the_pages_of_a_service_with_keys_are_shown(
    sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exposure, "_TRUSTED_SECONDS", 0.0)
    with serving(sqlite_settings.model_copy(update={"auth": "on"})) as live:
        visitor = _dashboard(live.url)
        assert visitor.get("/ui/").text == "a page"
        with visitor.websocket_connect("/ui/stream") as websocket:
            assert websocket.receive_text() == "news"
        # The pages stay while the service restarts; they show that it does not answer.
        live.stop()
        assert visitor.get("/ui/").text == "a page"


def test_a_service_that_does_not_answer_counts_as_one_without_keys(sqlite_settings: Settings) -> None:
    with serving(sqlite_settings) as live:
        url = live.url
    answer = _dashboard(url).get("/ui/")
    assert answer.status_code == 503 and "Try again" in answer.text
