"""A dashboard before a service with API keys: sign in, sign out, and the limits of a key."""

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
def with_keys(sqlite_settings: Settings) -> Iterator[tuple[Live, str]]:
    """Yield a service with API keys, and the key of an administrator."""
    settings = sqlite_settings.model_copy(update={"auth": "on"})
    key = first_key(settings)
    assert key is not None
    with serving(settings) as live:
        live.http.headers["Authorization"] = f"Bearer {key}"
        yield live, key


async def test_a_visitor_without_a_key_signs_in_and_returns_to_the_page(with_keys: tuple[Live, str]) -> None:
    live, key = with_keys
    job_id = live.fake_worker.submit(name="clothes")
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


async def test_an_invalid_key_is_refused_with_a_message(with_keys: tuple[Live, str]) -> None:
    live, _ = with_keys
    async with visit(live.url, "/") as user:
        for key in ("gan_live_nonsense", "", "ключ"):
            answer = await _sign_in(user, key)
            assert "set-cookie" not in answer.headers and "wrong=key" in answer.headers["location"]
        await user.open(answer.headers["location"])
        await user.should_see("The service does not accept this key")


async def test_an_unreachable_service_cannot_check_a_key(with_keys: tuple[Live, str]) -> None:
    live, key = with_keys
    async with visit(live.url, "/") as user:
        live.stop()
        answer = await _sign_in(user, key)
        assert "wrong=away" in answer.headers["location"]


@pytest.mark.parametrize("then", ["//evil.example", "https://evil.example", "/\\evil.example", ""])
async def test_a_sign_in_never_redirects_to_another_site(with_keys: tuple[Live, str], then: str) -> None:
    live, key = with_keys
    async with visit(live.url, "/") as user:
        assert (await _sign_in(user, key, then=then)).headers["location"] == "/"


async def test_another_site_can_neither_sign_in_nor_out(with_keys: tuple[Live, str]) -> None:
    live, key = with_keys
    async with visit(live.url, "/") as user:
        foreign = {"Sec-Fetch-Site": "cross-site"}
        assert (await user.http_client.post("/sign-in", data={"key": key}, headers=foreign)).status_code == 403
        assert (await user.http_client.post("/sign-out", headers=foreign)).status_code == 403


async def test_a_sign_out_is_shown_on_open_pages_and_drops_the_key(with_keys: tuple[Live, str]) -> None:
    live, key = with_keys
    live.fake_worker.submit(name="clothes")
    async with visit(live.url, "/") as user:
        await _sign_in(user, key)
        await user.open("/")
        (table,) = user.find(ui.table).elements
        assert table.rows[0]["title"] == "clothes"
        token = user.http_client.cookies[COOKIE]
        assert (await user.http_client.post("/sign-out")).headers["location"] == "/sign-in"
        assert COOKIE not in user.http_client.cookies
        await user.should_see("This service requires an API key. Send it")
        await user.should_see("Sign in")
        answer = await user.http_client.get("/files/v1/jobs/x/samples", headers={"Cookie": f"{COOKIE}={token}"})
        assert answer.status_code == 401


async def test_a_missing_scope_is_reported(with_keys: tuple[Live, str]) -> None:
    live, _ = with_keys
    with live.fake_worker.db.write() as s:
        reader = api_keys.create(s, "default", "reader", [Scope.JOBS_READ]).key
    job_id = live.fake_worker.submit()
    async with visit(live.url, "/") as user:
        await _sign_in(user, reader)
        await user.open(f"/jobs/{job_id}")
        user.find(kind=ui.button, content="Pause").click()
        await until(lambda: user.notify.contains("This request needs an API key with the scope jobs:write."))


async def test_each_visitor_has_a_separate_key(with_keys: tuple[Live, str]) -> None:
    live, key = with_keys
    with _sessions(live.url) as sessions:
        first, second = sessions.sign_in(key), sessions.sign_in("gan_live_other")
        assert first != second and key not in first
        assert sessions.get(first).key == key and sessions.get(second).key == "gan_live_other"
        sessions.sign_out(first)
        assert sessions.get(first).key == sessions.get("").key == "" and sessions.get(second).key == "gan_live_other"


async def test_images_are_requested_with_the_key_of_the_visitor(with_keys: tuple[Live, str]) -> None:
    live, key = with_keys
    job_id = live.fake_worker.train()
    drawn = live.fake_worker.preview(job_id, 50, shade=200)
    path = f"/files/v1/jobs/{job_id}/previews/50.png"
    async with visit(live.url, "/") as user:
        assert (await user.http_client.get(path)).status_code == 401
        await _sign_in(user, key)
        assert (await user.http_client.get(path)).content == drawn
        thumb = await user.http_client.get(f"/thumbs/{job_id}")
        assert thumb.headers["content-type"] == "image/png" and thumb.status_code == 200


async def _sign_in(user: User, key: str, then: str = "/") -> Any:
    return await user.http_client.post("/sign-in", data={"key": key, "then": then})


@contextmanager
def _sessions(url: str) -> Iterator[Sessions]:
    made = Sessions(url)
    try:
        yield made
    finally:
        made.close()
