"""A dashboard in front of a service that asks for keys: in with one, out again, and what a key does not open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import User

from api.ui.sessions import COOKIE, Sessions
from jobs.first_key import first_key
from jobs.keys import Scope
from jobs.runtime.settings import Settings
from jobs.store.callers import api_keys
from tests.api.live_service import Live, serving
from tests.api.ui.conftest import until, visit

pytestmark = pytest.mark.anyio


@pytest.fixture
def closed(sqlite_settings: Settings) -> Iterator[tuple[Live, str]]:
    """A service that asks for keys, and an administrator's."""
    settings = sqlite_settings.model_copy(update={"auth": "on"})
    key = first_key(settings)
    assert key is not None
    with serving(settings) as live:
        live.http.headers["Authorization"] = f"Bearer {key}"
        yield live, key


async def test_a_stranger_is_led_to_sign_in_and_from_there_to_where_they_were_going(closed: tuple[Live, str]) -> None:
    live, key = closed
    job_id = live.hand.submit(name="clothes")
    async with visit(live.url, f"/jobs/{job_id}") as user:
        await user.should_see("This service asks for a key")
        await user.should_not_see("clothes")
        answer = await _sign_in(user, key, then=f"/jobs/{job_id}")
        assert answer.status_code == 303 and answer.headers["location"] == f"/jobs/{job_id}"
        kept = answer.headers["set-cookie"]
        assert "HttpOnly" in kept and "SameSite=lax" in kept and key not in kept and key not in str(answer.headers)
        await user.open(answer.headers["location"])
        await user.should_see("clothes")
        assert [b.props["aria-label"] for b in user.find(ui.button).elements if b.props.get("icon") == "logout"]


async def test_a_key_that_opens_nothing_is_refused_in_words(closed: tuple[Live, str]) -> None:
    live, _ = closed
    async with visit(live.url, "/") as user:
        for key in ("gan_live_nonsense", "", "ключ"):
            answer = await _sign_in(user, key)
            assert "set-cookie" not in answer.headers and "wrong=key" in answer.headers["location"]
        await user.open(answer.headers["location"])
        await user.should_see("This key opens nothing here")


async def test_a_service_that_is_away_cannot_say_whether_a_key_is_good(closed: tuple[Live, str]) -> None:
    live, key = closed
    async with visit(live.url, "/") as user:
        live.stop()
        answer = await _sign_in(user, key)
        assert "wrong=away" in answer.headers["location"]


@pytest.mark.parametrize("then", ["//evil.example", "https://evil.example", "/\\evil.example", ""])
async def test_nobody_is_led_to_another_site(closed: tuple[Live, str], then: str) -> None:
    live, key = closed
    async with visit(live.url, "/") as user:
        assert (await _sign_in(user, key, then=then)).headers["location"] == "/"


async def test_another_site_can_neither_sign_in_nor_out(closed: tuple[Live, str]) -> None:
    live, key = closed
    async with visit(live.url, "/") as user:
        foreign = {"Sec-Fetch-Site": "cross-site"}
        assert (await user.http_client.post("/sign-in", data={"key": key}, headers=foreign)).status_code == 403
        assert (await user.http_client.post("/sign-out", headers=foreign)).status_code == 403


async def test_after_signing_out_the_open_page_says_so_and_the_key_is_forgotten(closed: tuple[Live, str]) -> None:
    live, key = closed
    live.hand.submit(name="clothes")
    async with visit(live.url, "/") as user:
        await _sign_in(user, key)
        await user.open("/")
        (table,) = user.find(ui.table).elements
        assert table.rows[0]["title"] == "clothes"
        word = user.http_client.cookies[COOKIE]
        assert (await user.http_client.post("/sign-out")).headers["location"] == "/sign-in"
        assert COOKIE not in user.http_client.cookies
        await user.should_see("This service requires an API key. Send it")
        await user.should_see("Sign in")
        answer = await user.http_client.get("/files/v1/jobs/x/samples", headers={"Cookie": f"{COOKIE}={word}"})
        assert answer.status_code == 401


async def test_what_a_key_does_not_open_is_said(closed: tuple[Live, str]) -> None:
    live, _ = closed
    with live.hand.db.write() as s:
        reader = api_keys.create(s, "default", "reader", [Scope.JOBS_READ]).key
    job_id = live.hand.submit()
    async with visit(live.url, "/") as user:
        await _sign_in(user, reader)
        await user.open(f"/jobs/{job_id}")
        user.find(kind=ui.button, content="Pause").click()
        await until(lambda: user.notify.contains("This request needs an API key with the scope jobs:write."))


async def test_each_visitor_has_the_key_that_they_signed_in_with(closed: tuple[Live, str]) -> None:
    live, key = closed
    with _sessions(live.url) as sessions:
        first, second = sessions.welcome(key), sessions.welcome("gan_live_other")
        assert first != second and key not in first
        assert sessions.known(first).key == key and sessions.known(second).key == "gan_live_other"
        sessions.dismiss(first)
        assert (
            sessions.known(first).key == sessions.known("").key == ""
            and sessions.known(second).key == "gan_live_other"
        )


async def test_pictures_are_asked_with_the_visitors_key(closed: tuple[Live, str]) -> None:
    live, key = closed
    job_id = live.hand.train()
    drawn = live.hand.preview(job_id, 50, shade=200)
    path = f"/files/v1/jobs/{job_id}/previews/50.png"
    async with visit(live.url, "/") as user:
        assert (await user.http_client.get(path)).status_code == 401
        await _sign_in(user, key)
        assert (await user.http_client.get(path)).content == drawn
        assert (await user.http_client.get(f"/thumbs/{job_id}")).content == drawn


async def _sign_in(user: User, key: str, then: str = "/") -> Any:
    return await user.http_client.post("/sign-in", data={"key": key, "then": then})


@contextmanager
def _sessions(url: str) -> Iterator[Sessions]:
    made = Sessions(url)
    try:
        yield made
    finally:
        made.close()
