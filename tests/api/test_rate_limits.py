"""Rate limits, which several processes count together in Redis.

The limits are per day: on a slow machine a minute may pass between two requests.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from api import rate_limits as counting
from api.rate_limits import RateLimiter
from jobs.errors import RateLimitedError
from jobs.ids import new_id
from tests.conftest import small_settings
from tests.ports import free_port


def _passed(rates: list[RateLimiter], tenant: str, times: int) -> int:
    """Send requests to the limiters in turn, and return how many are allowed."""

    async def ask() -> int:
        passed = 0
        for number in range(times):
            try:
                await rates[number % len(rates)].count(tenant, None)
            except RateLimitedError as error:
                assert 1 <= error.retry_after <= 86_400
            else:
                passed += 1
        return passed

    return asyncio.run(ask())


@pytest.mark.postgres
def test_processes_count_together_where_the_queue_is_in_redis(
    tmp_path: Path, valkey_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who waits for it in vain counts for itself; a machine that stands still is no server that is away.
    monkeypatch.setattr(counting, "_TIMEOUT_SECONDS", 60.0)
    settings = small_settings(tmp_path, broker_url=valkey_server, tenant_rate="6/day")
    both, name = [RateLimiter(settings), RateLimiter(settings)], new_id("job")
    assert _passed(both, name, 9) == 6


def test_one_process_counts_without_redis(tmp_path: Path) -> None:
    rates = RateLimiter(small_settings(tmp_path, tenant_rate="3/day"))
    assert _passed([rates], "a", 5) == 3 and _passed([rates], "b", 2) == 2


def test_no_limit_is_no_limit(tmp_path: Path) -> None:
    assert _passed([RateLimiter(small_settings(tmp_path, tenant_rate="", key_rate=""))], "a", 50) == 50


def test_each_process_counts_for_itself_while_redis_is_down(tmp_path: Path) -> None:
    settings = small_settings(tmp_path, broker_url=f"redis://127.0.0.1:{free_port()}/0", tenant_rate="3/day")
    assert _passed([RateLimiter(settings)], "a", 5) == 3
