"""The calls of the dashboard to the service, and the lifetime of a sign-in."""

from __future__ import annotations

import asyncio
import threading

import pytest

from api.ui import sessions
from api.ui.sessions import BrowserSession, Sessions
from jobs.runtime.settings import Settings
from tests.api.live_service import serving

pytestmark = pytest.mark.anyio


async def test_slow_samples_do_not_delay_other_pages(sqlite_settings: Settings) -> None:
    with serving(sqlite_settings) as live:
        service, drawn = Sessions(live.url), threading.Event()
        page = service.of(None)
        slow = [asyncio.ensure_future(page.call(drawn.wait)) for _ in range(40)]
        found = await asyncio.wait_for(page.call(page.client.presets), 60)
        drawn.set()
        assert found and await asyncio.gather(*slow) == [True] * 40
        service.close()


def test_a_sign_in_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Sessions("http://127.0.0.1:1")
    stays = BrowserSession(service, service.sign_in("gan_live_of_somebody"))
    monkeypatch.setattr(sessions, "STAY_SECONDS", 0)
    leaves = BrowserSession(service, service.sign_in("gan_live_of_another"))
    assert stays.headers == {"Authorization": "Bearer gan_live_of_somebody"} and leaves.headers == {}
    service.sign_out(stays.token)
    assert not stays.signed_in
    service.close()
