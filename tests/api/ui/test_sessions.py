"""How the dashboard asks, and whom it knows."""

from __future__ import annotations

import asyncio
import threading

import pytest

from api.ui.sessions import Desk, Sessions
from jobs.runtime.settings import Settings
from tests.api.live_service import serving

pytestmark = pytest.mark.anyio


async def test_a_page_is_answered_while_many_others_wait_for_samples(sqlite_settings: Settings) -> None:
    with serving(sqlite_settings) as live:
        sessions, drawn = Sessions(live.url), threading.Event()
        page = sessions.of(None)
        slow = [asyncio.ensure_future(page.ask(drawn.wait)) for _ in range(40)]
        found = await asyncio.wait_for(page.ask(page.client.presets), 60)
        drawn.set()
        assert found and await asyncio.gather(*slow) == [True] * 40
        sessions.close()


def test_a_visitor_is_a_stranger_again_when_the_week_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions("http://127.0.0.1:1")
    stays = Desk(sessions, sessions.welcome("gan_live_of_somebody"))
    monkeypatch.setattr(sessions, "STAY_SECONDS", 0)
    leaves = Desk(sessions, sessions.welcome("gan_live_of_another"))
    assert stays.headers == {"Authorization": "Bearer gan_live_of_somebody"} and leaves.headers == {}
    sessions.dismiss(stays.word)
    assert not stays.signed_in
    sessions.close()
