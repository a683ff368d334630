"""A person at the dashboard, without a browser, in front of a real service whose worker is played by hand."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from nicegui.testing import User, user_simulation

from api.ui.server import register
from api.ui.sessions import Sessions
from jobs.runtime.settings import Settings
from tests.api.live_service import Live, serving

_LOOKS = 600


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def live(sqlite_settings: Settings) -> Iterator[Live]:
    with serving(sqlite_settings) as served:
        yield served


class SamplerDouble:
    """Stands for the sampler where a spec's cost is asked."""

    async def estimate(self, *_: Any) -> dict[str, int]:
        return {
            "generator_parameters": 1_234_567,
            "discriminator_parameters": 2000,
            "memory_bytes": 3_000_000,
            "checkpoint_bytes": 40_000,
            "disk_bytes": 500_000,
        }

    async def close(self) -> None:
        """There is nothing to close."""


def estimate(live: Live) -> None:
    """Let the service say what a spec costs, without a sampler."""
    live.app.state.services = replace(live.app.state.services, sampler=SamplerDouble())


async def until(seen: Callable[[], object]) -> None:
    """Return as soon as it is so."""
    for _ in range(2 * _LOOKS):
        if seen():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("waited in vain")


@asynccontextmanager
async def visit(url: str, path: str) -> AsyncIterator[User]:
    """Somebody who has opened `path` of a dashboard that asks the service at `url`."""
    # NiceGUI's simulation forgets the modules of the pages at its end; other tests hold their classes.
    before, sessions = dict(sys.modules), Sessions(url)
    try:
        async with user_simulation(lambda: None) as user:
            register(sessions)
            # Three looks in 0.3 s, which is its default, are too few on a machine that has other work.
            user.should_see = partial(user.should_see, retries=_LOOKS)  # type: ignore[method-assign]
            user.should_not_see = partial(user.should_not_see, retries=_LOOKS)  # type: ignore[method-assign]
            await user.open(path)
            yield user
    finally:
        sys.modules.update(before)
        sessions.close()
