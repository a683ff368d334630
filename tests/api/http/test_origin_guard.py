"""A service without keys, and a page of another web site in a browser on the same machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.testclient import TestClient

from api.http.origin_guard import guarded
from jobs.runtime.settings import Settings
from tests.api.conftest import DEFAULT_JOB
from tests.api.live_service import Live, serving


@pytest.fixture
def live(sqlite_settings: Settings) -> Iterator[Live]:
    with serving(sqlite_settings) as served:
        yield served


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "10.0.0.1", "[::2]:80"]
)
def test_a_foreign_host_name_is_refused(live: Live, host: str) -> None:
    for path in ("/v1/jobs", "/healthz"):
        answer = live.http.get(path, headers={"Host": host})
        assert answer.status_code == 403 and answer.json()["code"] == "foreign-page"
        assert "GANTRY_AUTH=on" in answer.json()["detail"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "a.localhost:1", "127.0.0.1", "127.8.0.1:80", "[::1]:8000"]
)
def test_the_names_of_this_machine_are_accepted(live: Live, host: str) -> None:
    assert live.http.get("/v1/jobs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost", "x://[", ""]
)
def test_a_page_of_another_origin_changes_nothing(live: Live, origin: str) -> None:
    answer = live.http.post("/v1/jobs", json=DEFAULT_JOB, headers={"Origin": origin})
    assert answer.status_code == 403 and answer.json()["code"] == "foreign-page"
    assert live.http.get("/v1/jobs", headers={"Origin": origin}).json()["data"] == [], "and reads nothing by CORS"


def test_own_pages_and_programs_may_change_things(live: Live) -> None:
    for headers in ({}, {"Origin": live.url}):
        assert live.http.post("/v1/jobs", json=DEFAULT_JOB, headers=headers).status_code == 201


def test_a_configured_origin_may_change_things(sqlite_settings: Settings) -> None:
    page = "https://pages.example.org"
    with serving(sqlite_settings.model_copy(update={"cors_origins": page})) as live:
        assert live.http.post("/v1/jobs", json=DEFAULT_JOB, headers={"Origin": page}).status_code == 201
        assert live.http.post("/v1/jobs", json=DEFAULT_JOB, headers={"Origin": page + ".x"}).status_code == 403


def test_any_host_name_is_accepted_with_keys(sqlite_settings: Settings) -> None:
    with serving(sqlite_settings.model_copy(update={"auth": "on"})) as live:
        answer = live.http.get("/v1/jobs", headers={"Host": "gantry.example.org"})
        assert answer.status_code == 401 and answer.json()["code"] == "missing-api-key"


def test_a_page_of_another_origin_opens_no_socket() -> None:
    app = FastAPI()

    @app.websocket("/ws")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    client = TestClient(guarded(app, Settings()))
    with client.websocket_connect("ws://127.0.0.1:8002/ws", headers={"Origin": "http://127.0.0.1:8002"}) as ours:
        assert ours.receive_text() == "hello"
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("ws://127.0.0.1:8002/ws", headers={"Origin": "http://evil.example"}),
    ):
        raise AssertionError("the WebSocket was opened")
