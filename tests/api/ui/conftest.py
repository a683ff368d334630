"""Simulated visitors of the dashboard, without a browser, in front of a real service with a simulated worker."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from nicegui.testing import User, general, user_simulation

from api.ui.server import register
from api.ui.sessions import Sessions
from jobs.runtime.settings import Settings
from tests.api.live_service import Live, serving

_RETRIES = 600


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def live(sqlite_settings: Settings) -> Iterator[Live]:
    with serving(sqlite_settings) as served:
        yield served


class SamplerDouble:
    """A sampler that returns a fixed cost for every spec."""

    async def estimate(self, *_: Any) -> dict[str, int]:
        return {
            "generator_parameters": 1_234_567,
            "discriminator_parameters": 2000,
            "memory_bytes": 3_000_000,
            "checkpoint_bytes": 40_000,
            "disk_bytes": 500_000,
        }

    async def close(self) -> None:
        """Do nothing, because there is nothing to close."""


def estimate(live: Live) -> None:
    """Make the service estimate the cost of specs without a sampler."""
    live.app.state.services = replace(live.app.state.services, sampler=SamplerDouble())


async def until(seen: Callable[[], object]) -> None:
    """Wait until `seen()` is true. Raises `AssertionError` after a minute."""
    for _ in range(2 * _RETRIES):
        if seen():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the condition did not become true")


@asynccontextmanager
async def _simulation() -> AsyncIterator[User]:
    """NiceGUI's simulation, which collects garbage at both ends: young objects alone, not all modules each time."""
    with patch.object(general, "gc", SimpleNamespace(collect=partial(gc.collect, 1))):
        async with user_simulation(lambda: None) as user:
            yield user


@asynccontextmanager
async def visit(url: str, path: str) -> AsyncIterator[User]:
    """Open `path` of a dashboard for the service at `url`, and yield the visitor."""
    # At its end, NiceGUI's simulation removes the page modules from sys.modules. Other tests still need them.
    before, sessions = dict(sys.modules), Sessions(url)
    try:
        async with _simulation() as user:
            register(sessions)
            # The default of three attempts in 0.3 s is too short on a busy machine.
            user.should_see = partial(user.should_see, retries=_RETRIES)  # type: ignore[method-assign]
            user.should_not_see = partial(user.should_not_see, retries=_RETRIES)  # type: ignore[method-assign]
            await user.open(path)
            yield user
    finally:
        sys.modules.update(before)
        sessions.close()
